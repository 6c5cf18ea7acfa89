import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { connect, end, openMicrophone, type Hooks } from './connection';
import { CallFailure } from './failure';
import { LOOK_MS, SILENT_MS } from './flow';

class FakeChannel extends EventTarget {
  readyState = 'connecting';
  sent: string[] = [];
  send(text: string) {
    this.sent.push(text);
  }
  close() {
    this.readyState = 'closed';
  }
  turn(state: string) {
    this.readyState = state;
    this.dispatchEvent(new Event(state === 'open' ? 'open' : 'close'));
  }
}

class FakePeer extends EventTarget {
  static last: FakePeer;
  channel = new FakeChannel();
  iceGatheringState = 'complete';
  connectionState = 'new';
  localDescription: { sdp: string } | null = null;
  closed = false;
  constructor() {
    super();
    FakePeer.last = this;
  }
  createDataChannel(label: string) {
    expect(label).toBe('oai-events');
    return this.channel;
  }
  addTrack() {}
  packets = 0;
  getReceivers = () => [{ getStats: async () => new Map([['in', { type: 'inbound-rtp', packetsReceived: this.packets }]]) }];
  restarts = 0;
  createOffer = async (options?: { iceRestart?: boolean }) => {
    if (options?.iceRestart === true) this.restarts += 1;
    return { type: 'offer', sdp: 'offer' };
  };
  setLocalDescription = async (offer: { sdp: string }) => void (this.localDescription = offer);
  setRemoteDescription = async ({ sdp }: { sdp: string }) => {
    if (sdp !== 'answer') throw new Error('bad sdp');
    queueMicrotask(() => this.channel.turn('open'));
  };
  close() {
    this.closed = true;
  }
  turn(state: string) {
    this.connectionState = state;
    this.dispatchEvent(new Event('connectionstatechange'));
  }
}

const track = () => ({ stop: vi.fn(), kind: 'audio' });
const microphoneOf = (one: ReturnType<typeof track>) =>
  ({ getTracks: () => [one], getAudioTracks: () => [one] }) as unknown as MediaStream;
const SESSION = { type: 'realtime' };
const hooks = () => ({ onEvent: vi.fn(), onRemote: vi.fn(), onLink: vi.fn() }) satisfies Hooks;

let answer: () => Promise<Response>;
let restarted: () => Promise<Response>;
let posted: { type: string | undefined; body: unknown }[];
let deleted: { url: string; keepalive: boolean }[];
const accepted = async () =>
  new Response('answer', { status: 201, headers: { Location: '/v1/realtime/calls/rtc_1' } });

beforeEach(() => {
  answer = accepted;
  deleted = [];
  posted = [];
  restarted = async () => new Response('answer', { status: 200 });
  const page = new EventTarget();
  vi.stubGlobal('window', Object.assign(page, { isSecureContext: true, location: { href: 'https://avatar.test/' } }));
  vi.stubGlobal('RTCPeerConnection', FakePeer);
  vi.stubGlobal('MediaStream', class {});
  vi.stubGlobal('fetch', async (url: string | URL, init: RequestInit) => {
    if (init.method === 'DELETE') {
      deleted.push({ url: String(url), keepalive: init.keepalive === true });
      return new Response(null, { status: 204 });
    }
    if (init.method === 'PATCH') {
      expect(init).toMatchObject({ body: 'offer', headers: { 'Content-Type': 'application/sdp' } });
      expect(url).toBe('/v1/realtime/calls/rtc_1');
      return restarted();
    }
    posted.push({ type: (init.headers as Record<string, string>)['Content-Type'], body: init.body });
    return answer();
  });
});
afterEach(() => {
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

const failureOf = (promise: Promise<unknown>) =>
  promise.then(
    () => null,
    (error: unknown) => (error instanceof CallFailure ? error.failure : error),
  );

describe('a call', () => {
  it('opens, passes events on, and hangs up once, there and here', async () => {
    const heard = hooks();
    const connection = await connect(microphoneOf(track()), [], SESSION, heard, new AbortController().signal);
    const { channel } = FakePeer.last;
    channel.dispatchEvent(new MessageEvent('message', { data: '{"type":"session.created"}' }));
    channel.dispatchEvent(new MessageEvent('message', { data: 'not json' }));
    expect(heard.onEvent.mock.calls).toEqual([[{ type: 'session.created' }]]);

    connection.close();
    connection.close();
    expect(posted).toEqual([{ type: 'application/json', body: JSON.stringify({ sdp: 'offer', session: SESSION }) }]);
    expect(deleted).toEqual([{ url: 'https://avatar.test/v1/realtime/calls/rtc_1', keepalive: true }]);
    expect(FakePeer.last.closed).toBe(true);
    expect(heard.onLink).not.toHaveBeenCalled();
  });

  it('is ended when the page goes away', async () => {
    await connect(microphoneOf(track()), [], SESSION, hooks(), new AbortController().signal);
    window.dispatchEvent(new Event('pagehide'));
    expect(deleted).toHaveLength(1);
    expect(FakePeer.last.closed).toBe(true);
  });

  it('says what it is to be like in the same request', async () => {
    const session = { type: 'realtime', avatar: { resume_token: 'rt_1' } };
    await connect(microphoneOf(track()), [], session, hooks(), new AbortController().signal);
    expect(posted).toEqual([{ type: 'application/json', body: JSON.stringify({ sdp: 'offer', session }) }]);
  });

  it('is left to the server when the page may come back', async () => {
    await connect(microphoneOf(track()), [], SESSION, { ...hooks(), survives: () => true }, new AbortController().signal);
    window.dispatchEvent(new Event('pagehide'));
    expect(deleted).toHaveLength(0);
    expect(FakePeer.last.closed).toBe(false);
  });

  it('is known to be over by a page that was only put aside', async () => {
    const heard = hooks();
    await connect(microphoneOf(track()), [], SESSION, heard, new AbortController().signal);
    window.dispatchEvent(new Event('pagehide'));
    window.dispatchEvent(new Event('pageshow'));
    expect(heard.onLink.mock.calls).toEqual([['lost']]);
  });

  it('looks for another path, and says what came of it', async () => {
    const gone = new AbortController().signal;
    const connection = await connect(microphoneOf(track()), [], SESSION, hooks(), gone);
    expect(await connection.restart(gone)).toBe('answered');
    expect(FakePeer.last.restarts).toBe(1);
    for (const [status, word] of [
      [404, 'gone'],
      [405, 'gone'],
      [501, 'gone'],
      [503, 'unreachable'],
    ] as const) {
      restarted = async () => new Response('{}', { status });
      expect(await connection.restart(gone), String(status)).toBe(word);
    }
    vi.useFakeTimers();
    let tries = 0;
    restarted = () => {
      tries += 1;
      return tries < 3 ? Promise.reject(new TypeError('Failed to fetch')) : Promise.resolve(new Response('answer', { status: 200 }));
    };
    const found = connection.restart(gone);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(await found, 'a browser whose network changes breaks off what is under way').toBe('answered');
    restarted = () => Promise.reject(new TypeError('Failed to fetch'));
    const lost = connection.restart(gone);
    await vi.advanceTimersByTimeAsync(5_000);
    expect(await lost).toBe('unreachable');
    connection.close();
    expect(await connection.restart(gone)).toBe('gone');
  });

  it('that was lost is not ended at the server, which may keep the talk', async () => {
    const connection = await connect(microphoneOf(track()), [], SESSION, hooks(), new AbortController().signal);
    FakePeer.last.turn('failed');
    connection.abandon();
    expect(deleted).toHaveLength(0);
    connection.close();
    expect(deleted).toHaveLength(1);
  });

  it('says when it is interrupted, is back, and is lost', async () => {
    const heard = hooks();
    await connect(microphoneOf(track()), [], SESSION, heard, new AbortController().signal);
    const peer = FakePeer.last;
    peer.turn('disconnected');
    peer.turn('connected');
    peer.channel.turn('closed');
    peer.turn('failed');
    expect(heard.onLink.mock.calls).toEqual([['interrupted'], ['open'], ['lost']]);
  });
});

it('knows the networks of the moment by a document of its own, which goes away with the call', async () => {
  const frame = Object.assign(new EventTarget(), {
    hidden: false,
    contentWindow: { RTCPeerConnection: class extends FakePeer {} },
    remove: vi.fn(),
  });
  const append = vi.fn(() => queueMicrotask(() => frame.dispatchEvent(new Event('load'))));
  vi.stubGlobal('document', { createElement: () => frame, body: { append } });
  const elsewhere = { ...hooks(), elsewhere: true };
  const connection = await connect(microphoneOf(track()), [], SESSION, elsewhere, new AbortController().signal);
  expect(FakePeer.last).toBeInstanceOf(frame.contentWindow.RTCPeerConnection);
  expect([frame.hidden, frame.remove.mock.calls.length]).toEqual([true, 0]);
  connection.close();
  expect(FakePeer.last.closed).toBe(true);
  expect(frame.remove).toHaveBeenCalledOnce();
});

describe('a path that broke without a word of the browser', () => {
  it('is noticed by what does not come, and its return by what does', async () => {
    vi.useFakeTimers();
    const heard = hooks();
    const connection = await connect(microphoneOf(track()), [], SESSION, heard, new AbortController().signal);
    const peer = FakePeer.last;
    for (let i = 0; i < 10; i += 1) {
      peer.packets += 10;
      await vi.advanceTimersByTimeAsync(LOOK_MS);
    }
    await vi.advanceTimersByTimeAsync(SILENT_MS);
    expect(heard.onLink.mock.calls).toEqual([['interrupted']]);
    peer.packets += 1;
    await vi.advanceTimersByTimeAsync(LOOK_MS);
    expect(heard.onLink.mock.calls).toEqual([['interrupted'], ['open']]);
    connection.abandon();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(heard.onLink).toHaveBeenCalledTimes(2);
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe('a call that does not come about leaves nothing behind', () => {
  it('when the server is full', async () => {
    answer = async () => new Response('{}', { status: 503, headers: { 'Retry-After': '9' } });
    expect(await failureOf(connect(microphoneOf(track()), [], SESSION, hooks(), new AbortController().signal))).toEqual({
      kind: 'full',
      retryAfter: 9,
      detail: null,
    });
    expect(FakePeer.last.closed).toBe(true);
  });

  it('when the server cannot be reached', async () => {
    answer = () => Promise.reject(new TypeError('Failed to fetch'));
    expect(await failureOf(connect(microphoneOf(track()), [], SESSION, hooks(), new AbortController().signal))).toEqual({ kind: 'unreachable' });
    expect(FakePeer.last.closed).toBe(true);
  });

  it('when the answer makes no sense, and the server is told', async () => {
    answer = async () => new Response('gibberish', { status: 201, headers: { Location: '/v1/realtime/calls/rtc_2' } });
    expect(await failureOf(connect(microphoneOf(track()), [], SESSION, hooks(), new AbortController().signal))).toMatchObject({
      kind: 'rejected',
      detail: 'bad sdp',
    });
    expect(deleted.map(({ url }) => url)).toEqual(['https://avatar.test/v1/realtime/calls/rtc_2']);
  });

  it('when no audio gets through in time', async () => {
    vi.useFakeTimers();
    const open = vi.spyOn(FakeChannel.prototype, 'turn').mockImplementation(() => undefined);
    const failing = failureOf(connect(microphoneOf(track()), [], SESSION, hooks(), new AbortController().signal));
    await vi.advanceTimersByTimeAsync(12_000);
    expect(await failing).toEqual({ kind: 'no-path' });
    expect(FakePeer.last.closed).toBe(true);
    expect(deleted).toHaveLength(1);
    open.mockRestore();
  });

  it('when the caller gives up while it is set up', async () => {
    const gone = new AbortController();
    answer = async () => {
      gone.abort();
      return accepted();
    };
    expect(await failureOf(connect(microphoneOf(track()), [], SESSION, hooks(), gone.signal))).not.toBeNull();
    expect(deleted).toHaveLength(1);
  });
});

it('ends a call by its id alone', () => {
  end('rtc 1');
  expect(deleted).toEqual([{ url: 'https://avatar.test/v1/realtime/calls/rtc%201', keepalive: true }]);
});

it('says that a page without https has no microphone, before the browser is asked', async () => {
  vi.stubGlobal('window', { isSecureContext: false });
  expect(await failureOf(openMicrophone())).toEqual({ kind: 'insecure' });
});
