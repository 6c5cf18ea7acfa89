import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { connect, openMicrophone, type Hooks } from './connection';
import { CallFailure } from './failure';

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
  createOffer = async () => ({ type: 'offer', sdp: 'offer' });
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
const hooks = () => ({ onEvent: vi.fn(), onRemote: vi.fn(), onLink: vi.fn() }) satisfies Hooks;

let answer: () => Promise<Response>;
let deleted: { url: string; keepalive: boolean }[];
const accepted = async () =>
  new Response('answer', { status: 201, headers: { Location: '/v1/realtime/calls/rtc_1' } });

beforeEach(() => {
  answer = accepted;
  deleted = [];
  const page = new EventTarget();
  vi.stubGlobal('window', Object.assign(page, { isSecureContext: true, location: { href: 'https://avatar.test/' } }));
  vi.stubGlobal('RTCPeerConnection', FakePeer);
  vi.stubGlobal('MediaStream', class {});
  vi.stubGlobal('fetch', async (url: string | URL, init: RequestInit) => {
    if (init.method === 'DELETE') {
      deleted.push({ url: String(url), keepalive: init.keepalive === true });
      return new Response(null, { status: 204 });
    }
    expect(init).toMatchObject({ method: 'POST', body: 'offer', headers: { 'Content-Type': 'application/sdp' } });
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
    const one = track();
    const heard = hooks();
    const connection = await connect(microphoneOf(one), [], heard, new AbortController().signal);
    const { channel } = FakePeer.last;
    channel.dispatchEvent(new MessageEvent('message', { data: '{"type":"session.created"}' }));
    channel.dispatchEvent(new MessageEvent('message', { data: 'not json' }));
    expect(heard.onEvent.mock.calls).toEqual([[{ type: 'session.created' }]]);

    connection.close();
    connection.close();
    expect(deleted).toEqual([{ url: 'https://avatar.test/v1/realtime/calls/rtc_1', keepalive: true }]);
    expect(one.stop).toHaveBeenCalledOnce();
    expect(FakePeer.last.closed).toBe(true);
    expect(heard.onLink).not.toHaveBeenCalled();
  });

  it('is ended when the page goes away', async () => {
    await connect(microphoneOf(track()), [], hooks(), new AbortController().signal);
    window.dispatchEvent(new Event('pagehide'));
    expect(deleted).toHaveLength(1);
    expect(FakePeer.last.closed).toBe(true);
  });

  it('says when it is interrupted, is back, and is lost', async () => {
    const heard = hooks();
    const one = track();
    await connect(microphoneOf(one), [], heard, new AbortController().signal);
    const peer = FakePeer.last;
    peer.turn('disconnected');
    peer.turn('connected');
    peer.channel.turn('closed');
    peer.turn('failed');
    expect(heard.onLink.mock.calls).toEqual([['interrupted'], ['open'], ['lost']]);
    expect(one.stop).toHaveBeenCalledOnce();
  });
});

describe('a call that does not come about leaves no microphone open', () => {
  it('when the server is full', async () => {
    answer = async () => new Response('{}', { status: 503, headers: { 'Retry-After': '9' } });
    const one = track();
    expect(await failureOf(connect(microphoneOf(one), [], hooks(), new AbortController().signal))).toEqual({
      kind: 'full',
      retryAfter: 9,
      detail: null,
    });
    expect(one.stop).toHaveBeenCalled();
    expect(FakePeer.last.closed).toBe(true);
  });

  it('when the server cannot be reached', async () => {
    answer = () => Promise.reject(new TypeError('Failed to fetch'));
    const one = track();
    expect(await failureOf(connect(microphoneOf(one), [], hooks(), new AbortController().signal))).toEqual({ kind: 'unreachable' });
    expect(one.stop).toHaveBeenCalled();
  });

  it('when the answer makes no sense, and the server is told', async () => {
    answer = async () => new Response('gibberish', { status: 201, headers: { Location: '/v1/realtime/calls/rtc_2' } });
    expect(await failureOf(connect(microphoneOf(track()), [], hooks(), new AbortController().signal))).toMatchObject({
      kind: 'rejected',
      detail: 'bad sdp',
    });
    expect(deleted.map(({ url }) => url)).toEqual(['https://avatar.test/v1/realtime/calls/rtc_2']);
  });

  it('when no audio gets through in time', async () => {
    vi.useFakeTimers();
    const open = vi.spyOn(FakeChannel.prototype, 'turn').mockImplementation(() => undefined);
    const one = track();
    const failing = failureOf(connect(microphoneOf(one), [], hooks(), new AbortController().signal));
    await vi.advanceTimersByTimeAsync(12_000);
    expect(await failing).toEqual({ kind: 'no-path' });
    expect(one.stop).toHaveBeenCalled();
    expect(deleted).toHaveLength(1);
    open.mockRestore();
  });

  it('when the caller gives up while it is set up', async () => {
    const gone = new AbortController();
    answer = async () => {
      gone.abort();
      return accepted();
    };
    const one = track();
    expect(await failureOf(connect(microphoneOf(one), [], hooks(), gone.signal))).not.toBeNull();
    expect(one.stop).toHaveBeenCalled();
    expect(deleted).toHaveLength(1);
  });
});

it('says that a page without https has no microphone, before the browser is asked', async () => {
  vi.stubGlobal('window', { isSecureContext: false });
  expect(await failureOf(openMicrophone())).toEqual({ kind: 'insecure' });
});
