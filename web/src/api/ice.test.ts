import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { CallFailure } from '../realtime/failure';
import { iceServers, readIceServers } from './ice';
import { apiKey, setApiKey, withKey } from './key';

let storage: Map<string, string>;
let asked: RequestInit | undefined;
let answer: Response;

beforeEach(() => {
  storage = new Map();
  vi.stubGlobal('sessionStorage', {
    getItem: (key: string) => storage.get(key) ?? null,
    setItem: (key: string, value: string) => void storage.set(key, value),
    removeItem: (key: string) => void storage.delete(key),
  });
  vi.stubGlobal('fetch', async (_: string, init?: RequestInit) => {
    asked = init;
    return answer;
  });
});

afterEach(() => {
  setApiKey(null);
  vi.unstubAllGlobals();
});

describe('the key', () => {
  it('is sent with every request once it is known, and no longer than the tab lives', () => {
    expect(withKey({ Accept: 'x' })).toEqual({ Accept: 'x' });
    setApiKey(' sk-1 ');
    expect(withKey({ Accept: 'x' })).toEqual({ Accept: 'x', Authorization: 'Bearer sk-1' });
    expect([...storage.values()]).toEqual(['sk-1']);
    setApiKey('');
    expect(apiKey()).toBe(null);
    expect(storage.size).toBe(0);
  });

  it('is remembered by the page where storage is switched off', () => {
    const refuse = () => {
      throw new DOMException('no', 'SecurityError');
    };
    vi.stubGlobal('sessionStorage', { getItem: refuse, setItem: refuse, removeItem: refuse });
    setApiKey('sk-2');
    expect(apiKey()).toBe('sk-2');
  });
});

describe('the list of STUN and TURN servers', () => {
  it('keeps what a browser takes and leaves out the rest', () => {
    expect(
      readIceServers([
        { urls: ['stun:a:1', 'http://b'], username: null, credential: null },
        { urls: ['turn:c:2?transport=udp'], username: 'u', credential: 'p' },
        { urls: ['https://d'] },
        { urls: 'stun:e' },
        null,
        7,
      ]),
    ).toEqual([{ urls: ['stun:a:1'] }, { urls: ['turn:c:2?transport=udp'], username: 'u', credential: 'p' }]);
    expect(readIceServers({})).toEqual([]);
  });

  it('is asked for with the key', async () => {
    setApiKey('sk-3');
    answer = Response.json([{ urls: ['stun:a:1'] }]);
    expect(await iceServers(new AbortController().signal)).toEqual([{ urls: ['stun:a:1'] }]);
    expect(asked?.headers).toMatchObject({ Authorization: 'Bearer sk-3' });
  });

  it('is empty on a server that has none', async () => {
    answer = new Response('not found', { status: 404 });
    expect(await iceServers(new AbortController().signal)).toEqual([]);
    answer = new Response('<html>', { status: 200 });
    expect(await iceServers(new AbortController().signal)).toEqual([]);
  });

  it('asks for a key where the server wants one, and says when the key was wrong', async () => {
    const refusal = (code: string) => new Response(JSON.stringify({ error: { code, message: 'm' } }), { status: 401 });
    answer = refusal('missing_api_key');
    const failure = async () => iceServers(new AbortController().signal).catch((error: CallFailure) => error.failure);
    expect(await failure()).toEqual({ kind: 'key', wrong: false });
    answer = refusal('invalid_api_key');
    expect(await failure()).toEqual({ kind: 'key', wrong: true });
  });
});
