/**
 * The call as the page knows it: one store that owns phase, session, mute and sound. Components subscribe and ask; the
 * WebRTC work is in `connection.ts`, what events mean in `session.ts`, what is done about a broken link in `link.ts`.
 *
 * Promises: at most one call at a time; a call that was given up while it was being set up never comes alive later; the
 * microphone is stopped whenever there is no call.
 */
import type { Conversation } from '../api/conversations';
import { Meter } from '../audio/meter';
import type { Connection, Hooks, LinkState } from './connection';
import { diagnostics } from './diagnostics';
import { callOf, conversationOf, type ServerEvent } from './events';
import { CallFailure, failureOf, type Failure } from './failure';
import { linkUp, nextLink, wakeAt, type Link, type LinkInput } from './link';
import { watchNetwork } from './network';
import { keepTalk, keptTalk, type Resumption } from './resumption';
import { emptySession, reduce, sessionOf, settle, visibleTurns, type Session } from './session';

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
  /** The device itself has no network. */
  offline: boolean;
  /** A talk that broke off and can be gone on with. */
  broken: Resumption | null;
  /** The conversation of the running or last call. */
  conversation: string | null;
}

/** What a call is made of; tests put their own in. */
export interface Parts {
  connect(
    microphone: MediaStream,
    servers: RTCIceServer[],
    session: Record<string, unknown>,
    hooks: Hooks,
    signal: AbortSignal,
  ): Promise<Connection>;
  /** Ends a call that there is no connection for. */
  end(call: string): void;
  openMicrophone(): Promise<MediaStream>;
  iceServers(signal: AbortSignal): Promise<RTCIceServer[]>;
  history(conversation: string, signal: AbortSignal): Promise<Conversation>;
  voice(): string | null;
  chance(): number;
}

export class Call {
  private view: CallView = {
    phase: { kind: 'idle' },
    session: emptySession,
    muted: false,
    soundBlocked: false,
    callingAgain: false,
    offline: !navigator.onLine,
    broken: keptTalk(),
    conversation: null,
  };
  private readonly listeners = new Set<() => void>();
  /** The call from the press on the button to its end. */
  private attempt: AbortController | null = null;
  /** One try to save it. */
  private trial: AbortController | null = null;
  private link: Link = linkUp;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private talk: Resumption | null = null;
  private servers: RTCIceServer[] = [];
  private connection: Connection | null = null;
  /** The broken one, until another has taken over. */
  private former: Connection | null = null;
  private microphone: MediaStream | null = null;
  private context: AudioContext | null = null;
  private microphoneMeter: Meter | null = null;
  private replyMeter: Meter | null = null;

  /** `speaker` plays the server's audio; it stays in the page for as long as the page lives. */
  constructor(
    private readonly speaker: HTMLAudioElement,
    private readonly parts: Parts,
  ) {
    window.addEventListener('online', () => {
      this.change({ offline: false });
      this.checkLink();
    });
    window.addEventListener('offline', () => this.change({ offline: true }));
    watchNetwork(this.checkLink);
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  readonly snapshot = (): CallView => this.view;

  /** How loud the caller is, 0 to 1; 0 without a call or when muted. */
  readonly microphoneLevel = (): number => (this.view.muted ? 0 : (this.microphoneMeter?.read() ?? 0));
  /** How loud the reply is, 0 to 1. */
  readonly replyLevel = (): number => this.replyMeter?.read() ?? 0;
  /** Both sides' loudness at this moment, unsmoothed, 0 to 1. */
  readonly peaks = (): { caller: number; reply: number } => ({
    caller: this.view.muted ? 0 : (this.microphoneMeter?.peak() ?? 0),
    reply: this.replyMeter?.peak() ?? 0,
  });

  /** Starts a conversation of its own. */
  readonly start = (): Promise<void> => this.begin(null);

  /** Goes on with the talk that broke off. */
  readonly goOn = (): Promise<void> => this.begin(this.view.broken);

  /** Goes on with a conversation from history. */
  readonly goOnWith = (conversation: string): Promise<void> => this.begin({ conversation, token: null, call: null, at: Date.now() });

  /** The talk that broke off is not gone on with. */
  readonly letGo = (): void => {
    this.endBroken();
    this.change({ broken: null, session: this.attempt === null ? emptySession : this.view.session });
  };

  readonly hangUp = (): void => {
    if (this.attempt === null) return;
    const { phase } = this.view;
    const lasted = phase.kind === 'live' || phase.kind === 'reconnecting' ? Date.now() - phase.since : null;
    if (lasted !== null) keepTalk(null);
    const left = this.connection === null && lasted !== null ? this.talk?.call : null;
    this.release();
    if (left != null) this.parts.end(left);
    this.change({
      phase: lasted === null ? { kind: 'idle' } : { kind: 'ended', seconds: Math.round(lasted / 1000) },
      session: settle(this.view.session),
      callingAgain: false,
      broken: lasted === null ? this.view.broken : null,
    });
  };

  /** Away from a failure, to a page that is ready for another call. */
  readonly dismiss = (): void => {
    if (this.view.phase.kind === 'failed') this.change({ phase: { kind: 'idle' }, callingAgain: false });
  };

  readonly setCallingAgain = (callingAgain: boolean): void => this.change({ callingAgain });

  /** Something says that the network or the server was away: whether the link still holds is found out now. */
  readonly checkLink = (): void => this.feed({ kind: 'network' });

  readonly setMuted = (muted: boolean): void => {
    if (this.microphone === null) return;
    for (const track of this.microphone.getAudioTracks()) track.enabled = !muted;
    this.change({ muted });
  };

  /** Another voice from the next reply on. */
  readonly setVoice = (voice: string | null): void => {
    if (voice !== null) this.connection?.send({ type: 'session.update', session: { type: 'realtime', audio: { output: { voice } } } });
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

  private async begin(talk: Resumption | null): Promise<void> {
    if (this.attempt !== null) return;
    const attempt = new AbortController();
    const { signal } = attempt;
    this.attempt = attempt;
    this.talk = talk;
    this.link = linkUp;
    if (talk === null) this.endBroken();
    diagnostics.begin();
    const same = talk !== null && talk.conversation === this.view.conversation;
    this.change({
      phase: { kind: 'asking' },
      session: same ? settle(this.view.session) : emptySession,
      broken: talk === null ? null : this.view.broken,
      conversation: talk?.conversation ?? null,
      muted: false,
      soundBlocked: false,
    });

    try {
      // First, since whoever has no key need not be asked for the microphone.
      this.servers = await this.parts.iceServers(signal);
      const microphone = await this.parts.openMicrophone();
      if (signal.aborted) {
        for (const track of microphone.getTracks()) track.stop();
        return;
      }
      this.listenTo(microphone);
      this.change({ phase: { kind: 'connecting' } });
      if (talk !== null && !same) await this.readBack(talk.conversation, signal);
      await this.dialOrGoOn(signal);
      if (signal.aborted) return;
      this.change({ phase: { kind: 'live', since: Date.now() }, callingAgain: false, broken: null });
    } catch (error) {
      if (signal.aborted) return;
      this.fail(failureOf(error));
    }
  }

  /** Whoever does not go on with a talk need not be waited for by the server. */
  private endBroken(): void {
    const { broken } = this.view;
    if (broken?.call != null) this.parts.end(broken.call);
    keepTalk(null);
  }

  /** What was said so far, for the transcript. The talk can do without. */
  private async readBack(conversation: string, signal: AbortSignal): Promise<void> {
    try {
      const session = sessionOf(await this.parts.history(conversation, signal));
      if (!signal.aborted) this.change({ session });
    } catch {
      signal.throwIfAborted();
    }
  }

  /** A call; where the token has run out but the conversation is known, one that goes on with it without the unfinished reply. */
  private async dialOrGoOn(signal: AbortSignal): Promise<void> {
    try {
      await this.dial(signal);
    } catch (error) {
      if (!(error instanceof CallFailure) || error.failure.kind !== 'expired' || this.talk === null) throw error;
      this.talk = { ...this.talk, token: null };
      await this.dial(signal);
    }
  }

  private async dial(signal: AbortSignal, elsewhere = false): Promise<void> {
    if (this.microphone === null) return;
    let mine: Connection | null = null;
    const current = () => !signal.aborted && (mine === null || this.connection === mine);
    mine = await this.parts.connect(
      this.microphone,
      this.servers,
      this.wanted(),
      {
        onEvent: (event) => current() && this.take(event),
        onRemote: (stream) => current() && this.play(stream),
        onLink: (state) => this.connection === mine && this.feed(inputOf[state]),
        elsewhere,
        survives: () => this.talk?.token != null && this.isWorthKeeping(),
      },
      signal,
    );
    if (signal.aborted) mine.close();
    else this.connection = mine;
  }

  /** What the call is to be like: as the server has it, but for what was chosen, and kept when the page is loaded anew. */
  private wanted(): Record<string, unknown> {
    const voice = this.parts.voice();
    const { talk } = this;
    const own = talk?.token == null ? { conversation_id: talk?.conversation } : { resume_token: talk.token };
    return {
      type: 'realtime',
      ...(voice === null ? {} : { audio: { output: { voice } } }),
      avatar: { keep_on_close: true, ...(talk === null ? {} : own) },
    };
  }

  private take(event: ServerEvent): void {
    diagnostics.record(event, performance.now());
    if (event.type === 'session.created') {
      const conversation = conversationOf(event.session);
      if (conversation !== null) {
        const token = this.talk?.conversation === conversation ? this.talk.token : null;
        this.talk = { conversation, token, call: callOf(event.session), at: Date.now() };
        this.change({ conversation });
      }
    } else if (event.type === 'avatar.session.resumable') {
      this.talk = { conversation: event.conversation_id, token: event.token, call: this.talk?.call ?? null, at: Date.now() };
      this.keep();
    }
    const session = reduce(this.view.session, event);
    if (session === this.view.session) return;
    const first = visibleTurns(this.view.session).length === 0;
    this.change({ session });
    if (first) this.keep();
  }

  /** A talk in which nothing was said is not worth going on with. */
  private keep(): void {
    if (this.talk !== null && this.isWorthKeeping()) keepTalk(this.talk);
  }

  private isWorthKeeping(): boolean {
    return visibleTurns(this.view.session).length > 0;
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

  private play(stream: MediaStream): void {
    const { attempt } = this;
    diagnostics.remote(stream);
    this.speaker.srcObject = stream;
    void this.speaker.play().catch((error: unknown) => {
      const refused = error instanceof DOMException && error.name === 'NotAllowedError';
      if (refused && this.attempt === attempt) this.change({ soundBlocked: true });
    });
    this.replyMeter?.close();
    this.replyMeter = this.context === null ? null : new Meter(this.context, stream);
  }

  /** Tells the link's decisions what happened, and does what they say. */
  private feed(input: LinkInput): void {
    const { phase } = this.view;
    if (phase.kind !== 'live' && phase.kind !== 'reconnecting') return;
    const context = { now: Date.now(), chance: this.parts.chance(), resumable: this.talk?.token != null };
    const [link, step] = nextLink(this.link, input, context);
    this.link = link;
    clearTimeout(this.timer);
    if (link.kind === 'over') {
      this.fail(link.failure.kind === 'expired' ? { kind: 'dropped' } : link.failure);
      return;
    }
    this.change({ phase: { kind: link.kind === 'up' ? 'live' : 'reconnecting', since: phase.since } });
    const at = wakeAt(link);
    if (at !== null) this.timer = setTimeout(() => this.feed({ kind: 'tick' }), Math.max(0, at - Date.now()));
    if (step === 'restart') this.findPath();
    if (step === 'call') this.callAgain();
  }

  private try(work: (signal: AbortSignal) => Promise<LinkInput | null>): void {
    this.trial?.abort();
    const trial = new AbortController();
    this.trial = trial;
    work(trial.signal).then(
      (input) => {
        if (input !== null && !trial.signal.aborted) this.feed(input);
      },
      (error: unknown) => {
        if (!trial.signal.aborted) this.feed({ kind: 'call-failed', failure: failureOf(error) });
      },
    );
  }

  private findPath(): void {
    const { connection } = this;
    this.try(async (signal) => {
      const found = connection === null ? 'gone' : await connection.restart(signal);
      return found === 'answered' ? null : { kind: 'restart-failed', gone: found === 'gone' };
    });
  }

  private callAgain(): void {
    // Its word on what happens to it is of no interest any more. Closed now, the server could take it for a hang-up: it is let go
    // when the new one has taken its place.
    this.former ??= this.connection;
    this.connection = null;
    this.try(async (signal) => {
      await this.dial(signal, true);
      this.former?.abandon();
      this.former = null;
      return { kind: 'called' };
    });
  }

  private fail(failure: Failure): void {
    const { phase, broken } = this.view;
    const wasUp = phase.kind === 'live' || phase.kind === 'reconnecting';
    const worth = wasUp && this.talk !== null && this.isWorthKeeping();
    const { talk } = this;
    if (worth) {
      // The server keeps the talk for as long as it promised.
      this.connection?.abandon();
      this.connection = null;
    }
    this.release();
    this.change({
      phase: { kind: 'failed', failure, at: Date.now() },
      session: settle(this.view.session),
      broken: worth ? talk : broken,
    });
  }

  private release(): void {
    clearTimeout(this.timer);
    this.attempt?.abort();
    this.attempt = null;
    this.trial?.abort();
    this.trial = null;
    this.link = linkUp;
    this.connection?.close();
    this.connection = null;
    this.former?.abandon();
    this.former = null;
    this.talk = null;
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

const inputOf: Record<LinkState, LinkInput> = {
  open: { kind: 'recovered' },
  interrupted: { kind: 'interrupted' },
  lost: { kind: 'lost' },
};
