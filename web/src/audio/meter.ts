/** How loud a stream is, read from its real samples. */

/** Below this a room is silent; the meter shows nothing. */
const FLOOR_DBFS = -60;
/** Lively speech close to the microphone; the meter is full. */
const CEILING_DBFS = -12;
/** How far the reading falls each time it is taken: speech stays readable between syllables. Rises are shown at once. */
const FALL = 0.06;

/** A root-mean-square amplitude (full scale 1) on the meter's scale from 0 to 1, which is linear in decibels as hearing is. */
export function loudness(rms: number): number {
  if (!(rms > 0)) return 0;
  const dbfs = 20 * Math.log10(rms);
  return Math.min(Math.max((dbfs - FLOOR_DBFS) / (CEILING_DBFS - FLOOR_DBFS), 0), 1);
}

/** The reading that follows `shown` when the stream is at `now`. */
export function smooth(shown: number, now: number): number {
  return Math.max(now, shown - FALL, 0);
}

export class Meter {
  private readonly source: MediaStreamAudioSourceNode;
  private readonly analyser: AnalyserNode;
  private readonly samples: Float32Array<ArrayBuffer>;
  private shown = 0;

  constructor(context: AudioContext, stream: MediaStream) {
    this.source = context.createMediaStreamSource(stream);
    this.analyser = context.createAnalyser();
    this.analyser.fftSize = 1024;
    this.samples = new Float32Array(this.analyser.fftSize);
    this.source.connect(this.analyser);
  }

  /** From 0 to 1; meant to be read once a frame. */
  read(): number {
    this.shown = smooth(this.shown, this.peak());
    return this.shown;
  }

  /** The loudness of the last 20 ms as it is, 0 to 1. */
  peak(): number {
    this.analyser.getFloatTimeDomainData(this.samples);
    let power = 0;
    for (const sample of this.samples) power += sample * sample;
    return loudness(Math.sqrt(power / this.samples.length));
  }

  close(): void {
    this.source.disconnect();
    this.analyser.disconnect();
  }
}
