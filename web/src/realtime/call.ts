/**
 * The call as the page knows it: one store that owns phase, session, mute and sound. Components subscribe and ask; the
 * WebRTC work is in `connection.ts`, what events mean in `session.ts`.
 *
 * Promises: at most one call at a time; a call that was given up while it was being set up never comes alive later.
 */
import { iceServers } from '../api/ice';
import { Meter } from '../audio/meter';
import { connect, openMicrophone, type Connection } from './connection';
import { diagnostics } from './diagnostics';
import type { ServerEvent } from './events';
import { CallFailure, type Failure } from './failure';
import { activityOf, emptySession, reduce, type Session } from './session';

export type Phase =
  | { kind: 'idle' }
  | { kind: 'asking' }
  | { kind: 'connecting' }
  /** `since` in ms since the epoch, for the clock on the page. */
  | { kind: 'live'; since: number }
  | { kind: 'reconnecting'; since: number }
  /** `seconds`: how long the call lasted. */
  | { kind: 'ended'; seconds: number }
  | { kind: 'failed'; failure: Failure; at: number };

export interface CallView {
  phase: Phase;
  session: Session;
  muted: boolean;
  /** The browser plays no sound until the user presses something. */
  soundBlocked: boolean;
  /** Call again by itself when a busy server's wait is over. Holds until a call comes about or the user gives up. */
  callingAgain: boolean;
}

const initial: CallView = {
  phase: { kind: 'idle' },
  session: emptySession,
  muted: false,
  soundBlocked: false,
  callingAgain: false,
};

export class Call {
  private view: CallView = initial;
  private readonly listeners = new Set<() => void>();
  private attempt: AbortController | null = null;
  private connection: Connection | null = null;
  private microphone: MediaStream | null = null;
  private context: AudioContext | null = null;
  private microphoneMeter: Meter | null = null;
  private replyMeter: Meter | null = null;

  /** `speaker` plays the server's audio; it stays in the page for as long as the page lives. */
  constructor(private readonly speaker: HTMLAudioElement) {}

  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  readonly snapshot = (): CallView => this.view;

  /** How loud the caller is, 0 to 1; 0 without a call or when muted. */
  readonly microphoneLevel = (): number => (this.view.muted ? 0 : (this.microphoneMeter?.read() ?? 0));
  /** How loud the reply is, 0 to 1. */
  readonly replyLevel = (): number => this.replyMeter?.read() ?? 0;

  readonly start = async (): Promise<void> => {
    if (this.attempt !== null) return;
    const attempt = new AbortController();
    this.attempt = attempt;
    diagnostics.begin();
    this.change({ phase: { kind: 'asking' }, session: emptySession, muted: false, soundBlocked: false });

    try {
      // First, since whoever has no key need not be asked for the microphone.
      const servers = await iceServers(attempt.signal);
      const microphone = await openMicrophone();
      if (attempt.signal.aborted) {
        for (const track of microphone.getTracks()) track.stop();
        return;
      }
      this.listenTo(microphone);
      this.change({ phase: { kind: 'connecting' } });
      const connection = await connect(
        microphone,
        servers,
        {
          onEvent: (event) => this.take(event, attempt),
          onRemote: (stream) => this.play(stream, attempt),
          onLink: (state) => this.link(state, attempt),
        },
        attempt.signal,
      );
      if (attempt.signal.aborted) {
        connection.close();
        return;
      }
      this.connection = connection;
      this.change({ phase: { kind: 'live', since: Date.now() }, callingAgain: false });
    } catch (error) {
      if (attempt.signal.aborted) return;
      this.fail(error instanceof CallFailure ? error.failure : { kind: 'rejected', status: 0, detail: String(error) });
    }
  };

  readonly hangUp = (): void => {
    if (this.attempt === null) return;
    const { phase } = this.view;
    const lasted = phase.kind === 'live' || phase.kind === 'reconnecting' ? Date.now() - phase.since : null;
    this.release();
    this.change({
      phase: lasted === null ? { kind: 'idle' } : { kind: 'ended', seconds: Math.round(lasted / 1000) },
      session: settle(this.view.session),
      callingAgain: false,
    });
  };

  /** Away from a failure, to a page that is ready for another call. */
  readonly dismiss = (): void => {
    if (this.view.phase.kind === 'failed') this.change({ phase: { kind: 'idle' }, callingAgain: false });
  };

  readonly setCallingAgain = (callingAgain: boolean): void => this.change({ callingAgain });

  readonly setMuted = (muted: boolean): void => {
    if (this.microphone === null) return;
    for (const track of this.microphone.getAudioTracks()) track.enabled = !muted;
    this.change({ muted });
  };

  /** Stops the reply that is being prepared or spoken. */
  readonly stopReply = (): void => {
    // There is nothing to cancel in a reply that is complete and only plays on; the server would complain.
    if (this.view.session.generating !== null) this.connection?.send({ type: 'response.cancel' });
    this.connection?.send({ type: 'output_audio_buffer.clear' });
  };

  /** Plays the server's sound after the browser refused to; must be called from a press. */
  readonly unblockSound = (): void => {
    void this.context?.resume();
    void this.speaker.play().then(
      () => this.change({ soundBlocked: false }),
      () => undefined,
    );
  };

  private take(event: ServerEvent, attempt: AbortController): void {
    if (this.attempt !== attempt) return;
    diagnostics.record(event, performance.now());
    const session = reduce(this.view.session, event);
    if (session !== this.view.session) this.change({ session });
  }

  private listenTo(microphone: MediaStream): void {
    this.microphone = microphone;
    for (const track of microphone.getAudioTracks()) {
      track.addEventListener('ended', () => {
        if (this.microphone === microphone) this.fail({ kind: 'microphone-lost' });
      });
    }
    this.context = new AudioContext();
    void this.context.resume();
    this.microphoneMeter = new Meter(this.context, microphone);
  }

  private play(stream: MediaStream, attempt: AbortController): void {
    if (this.attempt !== attempt) return;
    diagnostics.remote(stream);
    this.speaker.srcObject = stream;
    void this.speaker.play().catch((error: unknown) => {
      const refused = error instanceof DOMException && error.name === 'NotAllowedError';
      if (refused && this.attempt === attempt) this.change({ soundBlocked: true });
    });
    this.replyMeter?.close();
    this.replyMeter = this.context === null ? null : new Meter(this.context, stream);
  }

  private link(state: 'open' | 'interrupted' | 'lost', attempt: AbortController): void {
    const { phase } = this.view;
    if (this.attempt !== attempt || (phase.kind !== 'live' && phase.kind !== 'reconnecting')) return;
    if (state === 'lost') this.fail({ kind: 'dropped' });
    else this.change({ phase: { kind: state === 'open' ? 'live' : 'reconnecting', since: phase.since } });
  }

  private fail(failure: Failure): void {
    this.release();
    this.change({ phase: { kind: 'failed', failure, at: Date.now() }, session: settle(this.view.session) });
  }

  private release(): void {
    this.attempt?.abort();
    this.attempt = null;
    this.connection?.close();
    this.connection = null;
    for (const track of this.microphone?.getTracks() ?? []) track.stop();
    this.microphone = null;
    this.microphoneMeter?.close();
    this.replyMeter?.close();
    this.microphoneMeter = this.replyMeter = null;
    void this.context?.close();
    this.context = null;
    this.speaker.srcObject = null;
    this.change({ muted: false, soundBlocked: false });
  }

  private change(part: Partial<CallView>): void {
    this.view = { ...this.view, ...part };
    for (const listener of this.listeners) listener();
  }
}

/** The session of a call that is over: nobody speaks, and a reply that was cut off by the end says so. */
function settle(session: Session): Session {
  if (activityOf(session) === 'listening') return session;
  return {
    ...session,
    caller: null,
    playing: null,
    awaited: null,
    generating: null,
    turns: session.turns.map((turn) => {
      if (turn.role === 'assistant') {
        if (turn.status === 'preparing') return { ...turn, text: '', status: 'interrupted' };
        return turn.status === 'speaking' ? { ...turn, status: 'interrupted' } : turn;
      }
      return turn.status === 'speaking' || turn.status === 'transcribing' ? { ...turn, status: 'final' } : turn;
    }),
  };
}
