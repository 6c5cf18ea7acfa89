import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { readConversation } from '../api/conversations';
import { Call, type Parts } from './call';
import type { Connection, Hooks, Restart } from './connection';
import type { ServerEvent } from './events';
import { CallFailure, type Failure } from './failure';
import { RESTART_MS } from './link';

class FakeConnection implements Connection {
  sent: Record<string, unknown>[] = [];
  closed = 0;
  abandoned = 0;
  restarts = 0;
  found: Restart | 'hangs' = 'answered';
  constructor(
    readonly session: Record<string, unknown>,
    readonly hooks: Hooks,
  ) {}
  send(event: Record<string, unknown>) {
    this.sent.push(event);
  }
  restart(): Promise<Restart> {
    this.restarts += 1;
    return this.found === 'hangs' ? new Promise(() => undefined) : Promise.resolve(this.found);
  }
  abandon() {
    this.abandoned += 1;
  }
  close() {
    this.closed += 1;
  }
}

let calls: FakeConnection[];
let refuse: (Failure | null)[];
let track: { stop: ReturnType<typeof vi.fn>; enabled: boolean; addEventListener: () => void };
let store: Map<string, string>;
let parts: Parts;
let ended: string[];
let speaker: HTMLAudioElement;

const resumable = (token = 'rt_1'): ServerEvent => ({ type: 'avatar.session.resumable', conversation_id: 'c1', token });
const said = (id: string, transcript: string): ServerEvent => ({
  type: 'conversation.item.input_audio_transcription.completed',
  item_id: id,
  transcript,
});

beforeEach(() => {
  vi.useFakeTimers();
  calls = [];
  refuse = [];
  ended = [];
  store = new Map();
  track = { stop: vi.fn(), enabled: true, addEventListener: () => undefined };
  const microphone = { getTracks: () => [track], getAudioTracks: () => [track] } as unknown as MediaStream;
  vi.stubGlobal('window', Object.assign(new EventTarget(), { __avatar: { remoteStream: null, events: [] } }));
  vi.stubGlobal('navigator', { onLine: true });
  vi.stubGlobal('sessionStorage', {
    getItem: (name: string) => store.get(name) ?? null,
    setItem: (name: string, value: string) => void store.set(name, value),
    removeItem: (name: string) => void store.delete(name),
  });
  const node = { connect() {}, disconnect() {}, fftSize: 0, getFloatTimeDomainData() {} };
  vi.stubGlobal(
    'AudioContext',
    class {
      resume = async () => undefined;
      close = async () => undefined;
      createMediaStreamSource = () => node;
      createAnalyser = () => node;
    },
  );
  speaker = { srcObject: null, play: async () => undefined } as unknown as HTMLAudioElement;
  parts = {
    connect: async (_microphone, _servers, session, hooks, signal) => {
      const failure = refuse.shift();
      if (failure != null) throw new CallFailure(failure);
      signal.throwIfAborted();
      const connection = new FakeConnection(session, hooks);
      calls.push(connection);
      return connection;
    },
    end: (call) => void ended.push(call),
    openMicrophone: async () => microphone,
    iceServers: async () => [],
    history: async () => readConversation({ id: 'c1', created_at: '2026-01-02T03:04:05Z', turns: [] }),
    voice: () => null,
    chance: () => 1,
  };
});
afterEach(() => {
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

/** A call in which something was said, and that the server would keep. */
async function talking() {
  const call = new Call(speaker, parts);
  await call.start();
  calls.at(-1)?.hooks.onEvent({ type: 'session.created', session: { avatar: { conversation_id: 'c1', call_id: 'rtc_1' } } });
  calls.at(-1)?.hooks.onEvent(resumable());
  calls.at(-1)?.hooks.onEvent(said('u1', 'Hello.'));
  return call;
}
const phase = (call: Call) => call.snapshot().phase.kind;
const settle = () => vi.advanceTimersByTimeAsync(0);

describe('a talk that breaks off', () => {
  it('goes on with the token, the same microphone and the same words', async () => {
    const call = await talking();
    calls[0]?.hooks.onLink('lost');
    expect(phase(call)).toBe('reconnecting');
    await settle();
    expect(phase(call)).toBe('live');
    expect(calls[1]?.session).toEqual({ type: 'realtime', avatar: { keep_on_close: true, resume_token: 'rt_1' } });
    expect(track.stop).not.toHaveBeenCalled();
    expect(call.snapshot().session.turns).toMatchObject([{ text: 'Hello.' }]);
    expect(calls[0]).toMatchObject({ abandoned: 1, closed: 0 });
  });

  it('is not ended at the server by the page that wants it back', async () => {
    const call = await talking();
    refuse = Array.from({ length: 50 }, () => ({ kind: 'unreachable' }) as const);
    calls[0]?.hooks.onLink('lost');
    await vi.advanceTimersByTimeAsync(400_000);
    expect(phase(call)).toBe('failed');
    expect(calls[0]?.closed).toBe(0);
    expect(track.stop).toHaveBeenCalled();
    expect(call.snapshot().broken).toMatchObject({ conversation: 'c1', token: 'rt_1' });
  });

  it('takes another path for the same call first', async () => {
    const call = await talking();
    calls[0]?.hooks.onLink('interrupted');
    await settle();
    expect(calls[0]?.restarts).toBe(1);
    expect(phase(call)).toBe('reconnecting');
    calls[0]?.hooks.onLink('open');
    expect(phase(call)).toBe('live');
    expect(calls).toHaveLength(1);
  });

  it('is called anew when that path leads nowhere', async () => {
    const call = await talking();
    if (calls[0] !== undefined) calls[0].found = 'hangs';
    calls[0]?.hooks.onLink('interrupted');
    await vi.advanceTimersByTimeAsync(RESTART_MS);
    expect(calls).toHaveLength(2);
    expect(calls.map(({ hooks }) => hooks.elsewhere)).toEqual([false, true]);
    expect(phase(call)).toBe('live');
    // The old call's last words are not the new one's.
    calls[0]?.hooks.onLink('lost');
    calls[0]?.hooks.onEvent(said('u2', 'Ghost.'));
    expect(phase(call)).toBe('live');
    expect(call.snapshot().session.turns).toHaveLength(1);
  });

  it('finds out at once that a server which was away has lost it', async () => {
    const call = await talking();
    if (calls[0] !== undefined) calls[0].found = 'gone';
    call.checkLink();
    await settle();
    expect(calls[1]?.session).toEqual({ type: 'realtime', avatar: { keep_on_close: true, resume_token: 'rt_1' } });
    expect(phase(call)).toBe('live');
  });

  it('is tried at once when the device is online again', async () => {
    const call = await talking();
    window.dispatchEvent(new Event('offline'));
    expect(call.snapshot().offline).toBe(true);
    refuse = [{ kind: 'unreachable' }];
    calls[0]?.hooks.onLink('lost');
    await settle();
    expect(calls).toHaveLength(1);
    window.dispatchEvent(new Event('online'));
    await settle();
    expect(call.snapshot()).toMatchObject({ offline: false, phase: { kind: 'live' } });
  });

  it('can be hung up while it is being saved, and stays hung up', async () => {
    const call = await talking();
    refuse = [{ kind: 'unreachable' }];
    calls[0]?.hooks.onLink('lost');
    await settle();
    call.hangUp();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(phase(call)).toBe('ended');
    expect(calls).toHaveLength(1);
    expect(track.stop).toHaveBeenCalled();
    expect(store.size).toBe(0);
    expect(ended).toEqual(['rtc_1']);
  });

  it('waits at the server for a page that goes away, if anything was said in it', async () => {
    const call = new Call(speaker, parts);
    await call.start();
    calls[0]?.hooks.onEvent(resumable());
    expect(calls[0]?.hooks.survives?.()).toBe(false);
    calls[0]?.hooks.onEvent(said('u1', 'Hello.'));
    expect(calls[0]?.hooks.survives?.()).toBe(true);
  });

  it('keeps the caller muted', async () => {
    const call = await talking();
    call.setMuted(true);
    calls[0]?.hooks.onLink('lost');
    await settle();
    expect(call.snapshot()).toMatchObject({ muted: true, phase: { kind: 'live' } });
    expect(track.enabled).toBe(false);
  });
});

describe('a page that is loaded anew', () => {
  it('offers to go on, shows what was said, and does', async () => {
    await talking();
    parts.history = async () =>
      readConversation({
        id: 'c1',
        created_at: '2026-01-02T03:04:05Z',
        turns: [{ id: 't1', user: { item: 'u1', text: 'Hello.' }, assistant: { item: 'a1', text: 'Hi.' } }],
      });
    const again = new Call(speaker, parts);
    expect(again.snapshot()).toMatchObject({ phase: { kind: 'idle' }, broken: { conversation: 'c1', token: 'rt_1' } });
    await again.goOn();
    expect(calls[1]?.session).toEqual({ type: 'realtime', avatar: { keep_on_close: true, resume_token: 'rt_1' } });
    expect(again.snapshot()).toMatchObject({
      phase: { kind: 'live' },
      broken: null,
      session: { turns: [{ role: 'user', id: 'u1', text: 'Hello.' }, { role: 'assistant', id: 'a1', text: 'Hi.' }] },
    });
  });

  it('goes on with the conversation when the token has run out', async () => {
    await talking();
    const again = new Call(speaker, parts);
    refuse = [{ kind: 'expired' }];
    await again.goOn();
    expect(calls[1]?.session).toEqual({ type: 'realtime', avatar: { keep_on_close: true, conversation_id: 'c1' } });
    expect(phase(again)).toBe('live');
  });

  it('still offers it after the microphone was refused', async () => {
    await talking();
    const again = new Call(speaker, { ...parts, openMicrophone: () => Promise.reject(new CallFailure({ kind: 'permission' })) });
    await again.goOn();
    expect(again.snapshot()).toMatchObject({ phase: { kind: 'failed' }, broken: { token: 'rt_1' } });
  });

  it('offers nothing after the user hung up, started anew, or said nothing', async () => {
    (await talking()).hangUp();
    expect(new Call(speaker, parts).snapshot().broken).toBeNull();
    expect(ended).toEqual([]);

    await talking();
    const other = new Call(speaker, parts);
    other.letGo();
    expect(new Call(speaker, parts).snapshot().broken).toBeNull();
    expect(ended, 'the server need not wait').toEqual(['rtc_1']);

    await talking();
    await new Call(speaker, parts).start();
    expect(ended).toEqual(['rtc_1', 'rtc_1']);
    expect(store.size).toBe(0);

    const silent = new Call(speaker, parts);
    await silent.start();
    calls.at(-1)?.hooks.onEvent(resumable());
    expect(new Call(speaker, parts).snapshot().broken).toBeNull();
  });

  it('does not trip over what stands in its storage', () => {
    for (const odd of ['{', 'null', '7', '{"conversation":7,"at":1}', '{"conversation":"c","token":"t","at":"now"}']) {
      store.set('avatar.talk', odd);
      expect(new Call(speaker, parts).snapshot().broken, odd).toBeNull();
    }
  });
});

describe('a server that keeps no talks', () => {
  it('drops the call as it always did', async () => {
    const call = new Call(speaker, parts);
    await call.start();
    calls[0]?.hooks.onEvent(said('u1', 'Hello.'));
    calls[0]?.hooks.onLink('lost');
    expect(call.snapshot().phase).toMatchObject({ kind: 'failed', failure: { kind: 'dropped' } });
    expect(track.stop).toHaveBeenCalled();
  });
});

it('asks for the chosen voice, and for another one in the middle of a call', async () => {
  parts.voice = () => 'profile:mine';
  const call = new Call(speaker, parts);
  await call.start();
  expect(calls[0]?.session).toEqual({ type: 'realtime', audio: { output: { voice: 'profile:mine' } }, avatar: { keep_on_close: true } });
  call.setVoice('slt');
  expect(calls[0]?.sent).toEqual([{ type: 'session.update', session: { type: 'realtime', audio: { output: { voice: 'slt' } } } }]);
});

it('stops the microphone of a call that does not come about', async () => {
  refuse = [{ kind: 'engine', detail: null }];
  const call = new Call(speaker, parts);
  await call.start();
  expect(phase(call)).toBe('failed');
  expect(track.stop).toHaveBeenCalled();
});
