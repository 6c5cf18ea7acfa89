/**
 * The WebRTC side of one call: offer, answer, data channel, another path, hang-up.
 *
 * Promises: whatever goes wrong while it is set up, the peer connection is closed, and a call that the server has accepted is ended
 * there too. The microphone is the caller's: it outlives a connection. Knows nothing of turns or of React.
 */
import { withKey } from '../api/key';
import { parseEvent, type ServerEvent } from './events';
import { answerFailure, CallFailure, microphoneFailure } from './failure';
import { Flow, LOOK_MS, packetsOf } from './flow';

const CALLS = '/v1/realtime/calls';
/** The server does not take trickled candidates, so they are gathered first; host candidates need far less than this. */
const GATHERING_LIMIT_MS = 1_000;
/** With STUN and TURN servers, which have to answer first; one of them that is down must not hold the call up for long. */
const RELAYED_GATHERING_LIMIT_MS = 3_000;
/** A browser whose network changes breaks off what is under way: the question for another path is asked so often again. */
const ASKED_AGAIN = 3;
const ASK_AGAIN_MS = 200;
/** From the answer to an open data channel. Beyond it a firewall is in the way. */
const OPENING_LIMIT_MS = 12_000;

export type LinkState = 'open' | 'interrupted' | 'lost';

export interface Hooks {
  onEvent(event: ServerEvent): void;
  onRemote(stream: MediaStream): void;
  /** After the call has opened: it works, it is interrupted and may come back, or it is lost for good. */
  onLink(state: LinkState): void;
  /** The network may have changed since the page was loaded. */
  elsewhere?: boolean;
  /** Whether the server is to keep the talk when the page goes away, since it may be loaded anew. */
  survives?(): boolean;
}

/** How the search for another path ended. `gone`: the server knows no such call, or can't look. */
export type Restart = 'answered' | 'gone' | 'unreachable';

export interface Connection {
  /** Sends a client event; dropped when the channel is not open. */
  send(event: Record<string, unknown>): void;
  /** Looks for another path to the server, on the networks that there are now. `onLink('open')` says when one is found. */
  restart(signal: AbortSignal): Promise<Restart>;
  /** Lets go of the call here. The server keeps it for whoever comes back with its token. */
  abandon(): void;
  /** Ends the call here and on the server. Safe to call twice. */
  close(): void;
}

/** With the browser's echo cancellation: the reply must not be heard as the caller. */
const FOR_A_CALL: MediaTrackConstraints = { echoCancellation: true, noiseSuppression: true, autoGainControl: true, channelCount: 1 };

/** The caller's microphone. Rejects with a [`CallFailure`]. */
export async function openMicrophone(audio: MediaTrackConstraints = FOR_A_CALL): Promise<MediaStream> {
  if (!window.isSecureContext) throw new CallFailure({ kind: 'insecure' });
  if (navigator.mediaDevices === undefined || typeof RTCPeerConnection === 'undefined') {
    throw new CallFailure({ kind: 'unsupported' });
  }
  try {
    return await navigator.mediaDevices.getUserMedia({ audio });
  } catch (error) {
    throw new CallFailure(microphoneFailure(error));
  }
}

/**
 * Calls the server with `microphone`, by way of `iceServers` where it can't be reached directly, and resolves when the data channel
 * is open. `session` is what the call is to be like. Rejects with a [`CallFailure`], or with the
 * signal's reason when the caller gave up; either way nothing is left behind.
 */
export async function connect(
  microphone: MediaStream,
  iceServers: RTCIceServer[],
  session: Record<string, unknown>,
  hooks: Hooks,
  signal: AbortSignal,
): Promise<Connection> {
  const { peer, discard } = hooks.elsewhere === true ? await freshPeer({ iceServers }) : plainPeer({ iceServers });
  const channel = peer.createDataChannel('oai-events');
  let location: string | null = null;
  let phase: 'opening' | 'open' | 'closed' = 'opening';
  let watch: ReturnType<typeof setInterval> | undefined;

  const abandon = () => {
    if (phase === 'closed') return;
    phase = 'closed';
    clearInterval(watch);
    window.removeEventListener('pagehide', leave);
    channel.close();
    peer.close();
    discard();
  };
  const close = () => {
    if (location !== null) endCall(location);
    location = null;
    abandon();
  };
  const lose = () => {
    if (phase !== 'open') return;
    abandon();
    hooks.onLink('lost');
  };
  const leave = () => {
    // What the browser closes by itself is a lost connection to the server.
    if (hooks.survives?.() === true) return;
    close();
    // A page that is only put aside comes back to a call that is over.
    window.addEventListener('pageshow', () => hooks.onLink('lost'), { once: true });
  };
  const limit = iceServers.length === 0 ? GATHERING_LIMIT_MS : RELAYED_GATHERING_LIMIT_MS;

  try {
    for (const track of microphone.getAudioTracks()) peer.addTrack(track, microphone);
    peer.addEventListener('track', ({ streams, track }) => hooks.onRemote(streams[0] ?? new MediaStream([track])));
    channel.addEventListener('message', ({ data }) => {
      const event = typeof data === 'string' ? parseEvent(data) : null;
      if (event !== null && phase !== 'closed') hooks.onEvent(event);
    });

    await peer.setLocalDescription(await peer.createOffer());
    await gathered(peer, limit, signal);
    location = await post(peer.localDescription?.sdp ?? '', session, signal, (sdp) =>
      peer.setRemoteDescription({ type: 'answer', sdp }),
    );
    // A page that is closed cannot wait for an answer: `keepalive` lets the request outlive it.
    window.addEventListener('pagehide', leave);
    await opened(peer, channel, signal);
  } catch (error) {
    close();
    throw error;
  }

  phase = 'open';
  channel.addEventListener('close', lose);
  const flow = new Flow();
  peer.addEventListener('connectionstatechange', () => {
    if (phase !== 'open') return;
    if (peer.connectionState === 'connected') {
      flow.trust();
      hooks.onLink('open');
    } else if (peer.connectionState === 'disconnected') hooks.onLink('interrupted');
    else if (peer.connectionState === 'failed' || peer.connectionState === 'closed') lose();
  });
  watch = setInterval(async () => {
    const [receiver] = peer.getReceivers();
    const packets = receiver === undefined ? null : await packetsOf(receiver).catch(() => null);
    if (packets === null || phase !== 'open') return;
    const word = flow.look(performance.now(), packets);
    if (word !== null) hooks.onLink(word === 'silent' ? 'interrupted' : 'open');
  }, LOOK_MS);

  const restart = async (signal: AbortSignal): Promise<Restart> => {
    if (location === null || phase !== 'open') return 'gone';
    try {
      await peer.setLocalDescription(await peer.createOffer({ iceRestart: true }));
      await gathered(peer, limit, signal);
      const answer = await askAgain(location, peer.localDescription?.sdp ?? '', signal);
      if (!answer.ok) return answer.status >= 500 && answer.status !== 501 ? 'unreachable' : 'gone';
      await peer.setRemoteDescription({ type: 'answer', sdp: await answer.text() });
      return 'answered';
    } catch (error) {
      signal.throwIfAborted();
      // What `fetch` throws is the network's; what the peer connection throws stays as it is.
      return error instanceof TypeError ? 'unreachable' : 'gone';
    }
  };

  return {
    close,
    abandon,
    restart,
    send(event) {
      if (channel.readyState === 'open') channel.send(JSON.stringify(event));
    },
  };
}

interface Peer {
  peer: RTCPeerConnection;
  /** To be called when the peer is closed. */
  discard(): void;
}

const plainPeer = (configuration: RTCConfiguration): Peer => ({ peer: new RTCPeerConnection(configuration), discard: () => undefined });

/**
 * A peer connection that knows the networks which there are now. Chromium tells a document of a new network up to three seconds
 * after it is there; a new document hears of it at once, so this one gets a document of its own.
 */
async function freshPeer(configuration: RTCConfiguration): Promise<Peer> {
  const frame = document.createElement('iframe');
  frame.hidden = true;
  const loaded = new Promise((done) => frame.addEventListener('load', done, { once: true }));
  document.body.append(frame);
  await loaded;
  const own = frame.contentWindow as (Window & typeof globalThis) | null;
  if (own === null) return plainPeer(configuration);
  return { peer: new own.RTCPeerConnection(configuration), discard: () => frame.remove() };
}

/** Posts the offer and hands the answer on; returns the call's address. A call that cannot be used is ended at once. */
async function post(
  offer: string,
  session: Record<string, unknown>,
  signal: AbortSignal,
  accept: (sdp: string) => Promise<void>,
): Promise<string | null> {
  let answer: Response;
  let body: string;
  try {
    answer = await fetch(CALLS, {
      method: 'POST',
      headers: withKey({ 'Content-Type': 'application/json' }),
      body: JSON.stringify({ sdp: offer, session }),
      signal,
    });
    body = await answer.text();
  } catch {
    signal.throwIfAborted();
    throw new CallFailure({ kind: 'unreachable' });
  }
  if (answer.status !== 201) {
    throw new CallFailure(answerFailure(answer.status, answer.headers.get('Retry-After'), body, Date.now()));
  }
  const location = answer.headers.get('Location');
  try {
    signal.throwIfAborted();
    await accept(body);
  } catch (error) {
    if (location !== null) endCall(location);
    signal.throwIfAborted();
    throw new CallFailure({
      kind: 'rejected',
      status: answer.status,
      detail: error instanceof Error ? error.message : null,
    });
  }
  return location;
}

async function askAgain(location: string, offer: string, signal: AbortSignal): Promise<Response> {
  for (let left = ASKED_AGAIN; ; left -= 1) {
    try {
      return await fetch(location, { method: 'PATCH', headers: withKey({ 'Content-Type': 'application/sdp' }), body: offer, signal });
    } catch (error) {
      if (left === 0 || signal.aborted) throw error;
      await settle(ASK_AGAIN_MS, signal, () => () => undefined);
    }
  }
}

/** Ends a call on the server by its id, be it that no connection is left of it. */
export const end = (call: string): void => endCall(`${CALLS}/${encodeURIComponent(call)}`);

function endCall(location: string): void {
  // Where it fails, the server gives up waiting by itself.
  const request = { method: 'DELETE', keepalive: true, headers: withKey() };
  void fetch(new URL(location, window.location.href), request).catch(() => undefined);
}

/** Resolves when every candidate is known, or after the limit with those that are. */
function gathered(peer: RTCPeerConnection, limitMs: number, signal: AbortSignal): Promise<void> {
  return settle(limitMs, signal, (resolve) => {
    const look = () => {
      if (peer.iceGatheringState === 'complete') resolve();
    };
    peer.addEventListener('icegatheringstatechange', look);
    look();
    return () => peer.removeEventListener('icegatheringstatechange', look);
  });
}

function opened(peer: RTCPeerConnection, channel: RTCDataChannel, signal: AbortSignal): Promise<void> {
  return settle(
    OPENING_LIMIT_MS,
    signal,
    (resolve, reject) => {
      const fail = () => reject(new CallFailure({ kind: 'no-path' }));
      const look = () => {
        if (channel.readyState === 'open') resolve();
        else if (channel.readyState === 'closed' || peer.connectionState === 'failed') fail();
      };
      channel.addEventListener('open', look);
      channel.addEventListener('close', look);
      peer.addEventListener('connectionstatechange', look);
      look();
      return () => {
        channel.removeEventListener('open', look);
        channel.removeEventListener('close', look);
        peer.removeEventListener('connectionstatechange', look);
      };
    },
    () => new CallFailure({ kind: 'no-path' }),
  );
}

/** A promise with a time limit and an abort signal. `late` makes the error of the limit; without it the limit resolves. */
function settle(
  limitMs: number,
  signal: AbortSignal,
  start: (resolve: () => void, reject: (error: unknown) => void) => () => void,
  late?: () => Error,
): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(signal.reason);
      return;
    }
    let stop: () => void = () => undefined;
    let settled = false;
    const end = (finish: () => void) => {
      if (settled) return;
      settled = true;
      clearTimeout(timer);
      signal.removeEventListener('abort', abort);
      stop();
      finish();
    };
    const abort = () => end(() => reject(signal.reason));
    const timer = setTimeout(() => end(() => (late === undefined ? resolve() : reject(late()))), limitMs);
    signal.addEventListener('abort', abort);
    stop = start(
      () => end(resolve),
      (error) => end(() => reject(error)),
    );
    // What settled inside `start` was not there to be stopped yet.
    if (settled) stop();
  });
}
