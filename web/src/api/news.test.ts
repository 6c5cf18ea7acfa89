import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { wait } from './backoff';
import { follow, readNews, type News } from './news';
import { EventReader } from './sse';

describe('a stream of events', () => {
  it('is read whatever pieces it comes in', () => {
    const text = ': hello\n\nevent: turn\ndata: {"conversation":"c1","turn":"t1"}\n\nevent: voice\r\ndata: {"id":"v"}\r\n\r\ndata: a\ndata: b\n\n';
    const expected = [
      { event: 'turn', data: '{"conversation":"c1","turn":"t1"}' },
      { event: 'voice', data: '{"id":"v"}' },
      { event: 'message', data: 'a\nb' },
    ];
    for (let size = 1; size <= text.length; size += 1) {
      const reader = new EventReader();
      const found = [];
      for (let at = 0; at < text.length; at += size) found.push(...reader.take(text.slice(at, at + size)));
      expect(found, `in pieces of ${size}`).toEqual(expected);
    }
  });

  it('holds no more than it may of an event without an end', () => {
    const reader = new EventReader();
    for (let i = 0; i < 100; i += 1) reader.take('x'.repeat(1 << 16));
    expect(reader.take('\n\ndata: 1\n\n')).toEqual([{ event: 'message', data: '1' }]);
  });
});

describe('news', () => {
  it('are what the page knows of, and nothing else', () => {
    const read = (event: string, data: unknown) => readNews({ event, data: JSON.stringify(data) });
    expect(read('turn', { conversation: 'c', turn: 7 })).toEqual({ kind: 'turn', conversation: 'c' });
    expect(read('render', { conversation: 'c', turn: 7, state: 'failed', reason: 'no voice' })).toEqual({
      kind: 'render',
      conversation: 'c',
      turn: '7',
      state: 'failed',
      reason: 'no voice',
    });
    expect(read('conversation', { id: 'c', state: 'deleted' })).toEqual({ kind: 'deleted', conversation: 'c' });
    expect(read('conversation', { id: 'c', state: 'painted' })).toBeNull();
    expect(read('title', { conversation: 'c', title: 'Rain' })).toEqual({ kind: 'title', conversation: 'c', title: 'Rain' });
    expect(read('lagged', {})).toEqual({ kind: 'lagged' });
    expect(read('turn', {})).toBeNull();
    expect(read('odd', { conversation: 'c' })).toBeNull();
    expect(readNews({ event: 'turn', data: 'not json' })).toBeNull();
  });
});

describe('following the news', () => {
  let answers: (() => Promise<Response>)[];
  let asked: { key: string | undefined }[];

  beforeEach(() => {
    vi.useFakeTimers();
    answers = [];
    asked = [];
    vi.stubGlobal('window', new EventTarget());
    vi.stubGlobal('fetch', async (_: string, init: RequestInit) => {
      asked.push({ key: (init.headers as Record<string, string>)['Authorization'] });
      const answer = answers.shift();
      if (answer !== undefined) return answer();
      return new Promise((_, reject) => init.signal?.addEventListener('abort', () => reject(new DOMException('', 'AbortError'))));
    });
  });
  afterEach(() => {
    vi.unstubAllGlobals();
    vi.useRealTimers();
  });

  const stream = (text: string) => async () => new Response(text, { headers: { 'Content-Type': 'text/event-stream' } });
  const listen = () => {
    const heard: News[] = [];
    const gone = new AbortController();
    const over = follow((news) => heard.push(news), gone.signal);
    return { heard, gone, over };
  };

  it('opens the stream again when it breaks, and says that something may have been missed', async () => {
    answers = [
      stream('event: turn\ndata: {"conversation":"c1"}\n\n'),
      () => Promise.reject(new TypeError('Failed to fetch')),
      stream('event: voice\ndata: {}\n\n'),
    ];
    const { heard, gone, over } = listen();
    await vi.advanceTimersByTimeAsync(10_000);
    expect(heard).toEqual([{ kind: 'turn', conversation: 'c1' }, { kind: 'back' }, { kind: 'voice' }]);
    gone.abort();
    await vi.advanceTimersByTimeAsync(10_000);
    await over;
  });

  it('leaves a server alone that has no stream, or sends its page instead', async () => {
    for (const answer of [
      async () => Response.json({ error: {} }, { status: 404 }),
      async () => new Response('<html>', { headers: { 'Content-Type': 'text/html' } }),
    ]) {
      answers = [answer];
      asked = [];
      const { over } = listen();
      await over;
      await vi.advanceTimersByTimeAsync(120_000);
      expect(asked).toHaveLength(1);
    }
  });

  it('does not wait when the network comes back', async () => {
    answers = Array.from({ length: 6 }, () => () => Promise.reject(new TypeError('Failed to fetch')));
    const { gone } = listen();
    await vi.advanceTimersByTimeAsync(0);
    expect(asked).toHaveLength(1);
    window.dispatchEvent(new Event('online'));
    await vi.advanceTimersByTimeAsync(0);
    expect(asked).toHaveLength(2);
    gone.abort();
  });
});

it('waits longer each time, up to a limit, and never nothing', () => {
  const backoff = { firstMs: 100, limitMs: 1_000 };
  expect([1, 2, 3, 4, 5, 90].map((attempt) => wait(backoff, attempt, 1))).toEqual([100, 200, 400, 800, 1_000, 1_000]);
  expect(wait(backoff, 1, 0)).toBe(50);
  expect(wait(backoff, 0, 7)).toBe(100);
});
