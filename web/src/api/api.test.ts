import { afterEach, describe, expect, it, vi } from 'vitest';
import { listConversations, readConversation, readConversations } from './conversations';
import { getHealth, getStatus, readHealth } from './health';
import { answerError, ApiError, suggestedName } from './http';
import { readCloning, readVoices } from './voices';

afterEach(() => vi.unstubAllGlobals());

describe('history', () => {
  it('leaves out entries without id or time, and survives missing fields', () => {
    const list = readConversations([
      { id: 'c1', turns: 3, created_at: '2026-01-02T03:04:05Z', preview: ' Hi ' },
      { id: 'c2', created_at: '2026-01-02T03:04:05Z' },
      { id: 'c3', created_at: 'yesterday' },
      { turns: 3 },
      null,
    ]);
    expect(list.map(({ id, turns, preview }) => [id, turns, preview])).toEqual([
      ['c1', 3, 'Hi'],
      ['c2', 0, ''],
    ]);
    expect(() => readConversations({ conversations: [] })).toThrow(ApiError);
  });

  it('plays audio from this server only', () => {
    const audio = (address: unknown) =>
      readConversation({
        id: 'c',
        created_at: '2026-01-02T03:04:05Z',
        turns: [{ id: 1, user: { text: 'Hi', audio: address }, assistant: null }],
      }).turns[0]?.user.audio;
    expect(audio('/api/audio/1.ogg')).toBe('/api/audio/1.ogg');
    for (const foreign of ['https://elsewhere.test/a.ogg', '//elsewhere.test/a', '/\\elsewhere.test', 'javascript:1', 7]) {
      expect(audio(foreign), String(foreign)).toBeNull();
    }
  });

  it('keeps a turn whose reply was cut, with the stages that were reached', () => {
    const { turns } = readConversation({
      id: 'c',
      created_at: '2026-01-02T03:04:05Z',
      turns: [
        {
          id: 't',
          index: 0,
          user: { text: 'Hi', audio: null, duration_ms: 900 },
          assistant: { text: 'Hel', audio: '/a', duration_ms: 300, interrupted: true },
          timings: { turn_commit_ms: 200, first_packet_ms: null },
          voice: 'slt',
        },
      ],
    });
    expect(turns[0]).toMatchObject({
      assistant: { text: 'Hel', interrupted: true, durationMs: 300 },
      timings: { turn_commit_ms: 200, first_packet_ms: null, text_final_ms: null },
      voice: 'slt',
    });
  });

  it('asks for the page before the last one it knows', async () => {
    const asked: string[] = [];
    vi.stubGlobal('fetch', async (url: string) => {
      asked.push(url);
      return Response.json([]);
    });
    await listConversations(null);
    await listConversations('c/1');
    await listConversations('c/1', '天氣 & rain');
    expect(asked).toEqual([
      '/api/conversations?limit=20',
      '/api/conversations?limit=20&before=c%2F1',
      '/api/conversations?limit=20&before=c%2F1&q=%E5%A4%A9%E6%B0%A3+%26+rain',
    ]);
  });

  it('goes by the server’s word on whether there is more, not by the length of a page', async () => {
    const entry = { id: 'c', turns: 1, created_at: '2026-01-02T03:04:05Z' };
    const answer = (count: number, link: string | null) =>
      vi.stubGlobal('fetch', async () => {
        const list = Array.from({ length: count }, (_, i) => ({ ...entry, id: `c${i}` }));
        return Response.json(list, link === null ? {} : { headers: { Link: link } });
      });
    answer(3, '</api/conversations?before=c2>; rel="next"');
    expect((await listConversations(null)).more).toBe(true);
    answer(20, '</api/conversations>; rel="first"');
    expect((await listConversations(null)).more).toBe(false);
    answer(20, null);
    expect((await listConversations(null)).more).toBe(true);
    answer(19, null);
    expect((await listConversations(null)).more).toBe(false);
    answer(0, '</api/conversations?before=c2>; rel="next"');
    expect((await listConversations(null)).more).toBe(false);
  });

  it('keeps the pieces a search found, and drops odd ones', () => {
    const [found] = readConversations([
      {
        id: 'c',
        created_at: '2026-01-02T03:04:05Z',
        title: ' ',
        match: { turn: 't', side: 'assistant', pieces: [{ text: 'the ', hit: false }, { text: 'rain', hit: true }, { text: '' }, 7] },
        hq: { pending: 2, ready: '3', failed: -1 },
      },
    ]);
    expect(found).toMatchObject({
      title: null,
      match: { side: 'assistant', pieces: [{ text: 'the ', hit: false }, { text: 'rain', hit: true }] },
      hq: { pending: 2, ready: 0, failed: 0 },
    });
  });

  it('does not play a better recording from elsewhere, nor believe in states it does not know', () => {
    const hq = (value: unknown) =>
      readConversation({
        id: 'c',
        created_at: '2026-01-02T03:04:05Z',
        turns: [{ id: 't', user: null, assistant: { text: 'Hi', original: 'Hey', hq: value } }],
      }).turns[0]?.assistant.hq;
    expect(hq({ state: 'ready', audio: 'https://elsewhere.test/a', voice: 'slt' })).toEqual({
      state: 'ready',
      reason: null,
      voice: 'slt',
      audio: null,
      durationMs: null,
    });
    expect(hq({ state: 'polished' })).toBeNull();
    expect(hq(undefined)).toBeNull();
  });
});

describe('a refusal', () => {
  const body = (code: string, message: string) => JSON.stringify({ error: { code, message } });

  it('keeps the server’s code and words', () => {
    expect(answerError('/x', 400, null, body('too_short', 'only 1.2 s of speech'))).toMatchObject({
      kind: 'refused',
      code: 'too_short',
      message: 'only 1.2 s of speech',
    });
    expect(answerError('/x', 429, '7', body('rate_limited', 'slow down'))).toMatchObject({ kind: 'limited', retryAfter: 7 });
    expect(answerError('/x', 401, null, '')).toMatchObject({ kind: 'key' });
  });

  it('is understood from a proxy that cuts large uploads off', () => {
    expect(answerError('/x', 413, null, '<html>')).toMatchObject({ kind: 'refused', code: 'too_large' });
  });
});

it('saves under the server’s name for a file, but never outside the folder for downloads', () => {
  expect(suggestedName('attachment; filename="talk-1.json"')).toBe('talk-1.json');
  expect(suggestedName('attachment; filename=talk.ogg; size=3')).toBe('talk.ogg');
  expect(suggestedName('attachment; filename="../../boot.ini"')).toBeNull();
  expect(suggestedName('attachment')).toBeNull();
  expect(suggestedName(null)).toBeNull();
});

describe('voices', () => {
  it('are read with seconds as seconds, and left out without an id', () => {
    const list = readVoices([
      { id: 'p1', name: 'Mine', duration: 7.5, kind: 'profile', voice: 'profile:p1', state: 'computing', default: true },
      { id: 'slt', kind: 'odd', state: 'odd' },
      { name: 'nobody' },
    ]);
    expect(list).toHaveLength(2);
    expect(list[0]).toMatchObject({ durationMs: 7500, kind: 'profile', voice: 'profile:p1', state: 'computing', isDefault: true });
    expect(list[1]).toMatchObject({ name: 'slt', kind: 'preset', voice: 'slt', state: 'ready', durationMs: null });
    expect(() => readVoices({})).toThrow(ApiError);
  });

  it('are not promised by a server that does not say it can learn them', () => {
    expect(readCloning(null)).toEqual({ available: false, engine: null, hint: null, reading: {} });
    expect(readCloning({ available: true, engine: 'pocket', reading: { en: ' Read. ', xx: 7 } })).toMatchObject({
      available: true,
      reading: { en: 'Read.' },
    });
  });
});

describe('health', () => {
  it('is read from a 503 as well: a server that is down says which engine', async () => {
    vi.stubGlobal('fetch', async () =>
      Response.json({ status: 'down', models: { stt: { name: 'moonshine', state: 'missing' } } }, { status: 503 }),
    );
    expect(await getHealth()).toEqual({
      status: 'down',
      percent: null,
      engines: [{ role: 'stt', name: 'moonshine', state: 'missing', percent: null, hint: null, queue: null }],
      calls: null,
    });
  });

  it('says how far a server is that is still loading, whatever it sends', () => {
    const models = { llm: { name: 'smollm2', state: 'loading', percent: 40 }, stt: { name: 'moonshine', state: 'warming_up' } };
    expect(readHealth({ status: 'loading', percent: 62, models })).toMatchObject({
      status: 'loading',
      percent: 62,
      engines: [{ percent: 40 }, { percent: null }],
    });
    expect(readHealth({ status: 'loading', percent: 900 }).percent).toBe(100);
    expect(readHealth({ status: 'loading' }).percent).toBe(0);
    expect(readHealth({ status: 'ok', percent: 62 }).percent).toBeNull();
  });

  it('is not taken from a proxy’s error page', async () => {
    vi.stubGlobal('fetch', async () => new Response('<html>', { status: 503 }));
    await expect(getHealth()).rejects.toMatchObject({ kind: 'unreachable' });
  });

  it('is all that an older server has to say of itself', async () => {
    const asked: string[] = [];
    vi.stubGlobal('fetch', async (url: string) => {
      asked.push(url);
      if (url === '/api/status') return Response.json({ error: { code: 'not_found', message: 'no' } }, { status: 404 });
      return Response.json({ status: 'ok', models: { llm: { name: 'x', state: 'ready' } }, calls: { active: 2, limit: 5 } });
    });
    expect(await getStatus()).toMatchObject({ engines: [{ role: 'llm' }], calls: { active: 2, limit: 5 }, hq: null, history: null });
    expect(asked).toEqual(['/api/status', '/health']);
  });

  it('counts an unknown status as not quite well', () => {
    expect(readHealth({ status: 'odd', calls: { active: 1, limit: 5 } })).toMatchObject({
      status: 'degraded',
      calls: { active: 1, limit: 5 },
    });
  });
});
