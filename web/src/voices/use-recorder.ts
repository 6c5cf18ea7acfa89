import { useCallback, useEffect, useRef, useState } from 'react';
import { Meter } from '../audio/meter';
import { openMicrophone } from '../realtime/connection';
import { CallFailure, type FailureKind } from '../realtime/failure';
import { LONGEST_S, RECORDED_AS } from './recording';

export type Recording =
  | { kind: 'idle' }
  | { kind: 'asking' }
  | { kind: 'running'; since: number }
  | { kind: 'done'; audio: Blob; url: string; seconds: number }
  | { kind: 'failed'; failure: FailureKind };

/** As the room sounds: a voice is to be learned with nothing taken off and nothing turned up. */
const PLAIN: MediaTrackConstraints = { echoCancellation: false, noiseSuppression: false, autoGainControl: false, channelCount: 1 };

/** A recording from the microphone, at most [`LONGEST_S`] long. The microphone is open only while it runs. */
export function useRecorder() {
  const [state, setState] = useState<Recording>({ kind: 'idle' });
  const meter = useRef<Meter | null>(null);
  const stop = useRef<() => void>(() => undefined);
  const url = useRef<string | null>(null);
  const gone = useRef(false);

  const forget = useCallback(() => {
    if (url.current !== null) URL.revokeObjectURL(url.current);
    url.current = null;
  }, []);

  useEffect(() => {
    gone.current = false;
    return () => {
      gone.current = true;
      stop.current();
      forget();
    };
  }, [forget]);

  const start = useCallback(async () => {
    forget();
    setState({ kind: 'asking' });
    let microphone: MediaStream;
    try {
      microphone = await openMicrophone(PLAIN);
    } catch (error) {
      setState({ kind: 'failed', failure: error instanceof CallFailure ? error.failure.kind : 'no-microphone' });
      return;
    }
    const release = () => {
      for (const track of microphone.getTracks()) track.stop();
      meter.current?.close();
      meter.current = null;
      void context.close();
    };
    const context = new AudioContext();
    const type = RECORDED_AS.find((kind) => MediaRecorder.isTypeSupported(kind));
    if (gone.current || type === undefined) {
      release();
      if (!gone.current) setState({ kind: 'failed', failure: 'unsupported' });
      return;
    }
    void context.resume();
    meter.current = new Meter(context, microphone);
    const recorder = new MediaRecorder(microphone, { mimeType: type, audioBitsPerSecond: 128_000 });
    const parts: Blob[] = [];
    const since = Date.now();
    const limit = setTimeout(() => stop.current(), LONGEST_S * 1000);
    recorder.addEventListener('dataavailable', ({ data }) => parts.push(data));
    recorder.addEventListener('stop', () => {
      clearTimeout(limit);
      release();
      stop.current = () => undefined;
      if (gone.current) return;
      const audio = new Blob(parts, { type });
      url.current = URL.createObjectURL(audio);
      setState({ kind: 'done', audio, url: url.current, seconds: (Date.now() - since) / 1000 });
    });
    // A microphone that is pulled out ends the recording; what there is of it is kept.
    for (const track of microphone.getAudioTracks()) track.addEventListener('ended', () => stop.current());
    stop.current = () => {
      if (recorder.state !== 'inactive') recorder.stop();
    };
    recorder.start();
    setState({ kind: 'running', since });
  }, [forget]);

  const reset = useCallback(() => {
    forget();
    setState({ kind: 'idle' });
  }, [forget]);

  return { state, start, stop: () => stop.current(), reset, level: () => meter.current?.read() ?? 0 };
}

export type Recorder = ReturnType<typeof useRecorder>;
