import { afterEach, describe, expect, it, vi } from 'vitest';
import { ApiError, getHealth, listConversations, readConversation, readConversations, readHealth } from './client';

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
    expect(asked).toEqual(['/api/conversations?limit=20', '/api/conversations?limit=20&before=c%2F1']);
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
      engines: [{ role: 'stt', name: 'moonshine', state: 'missing', percent: null }],
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

  it('counts an unknown status as not quite well', () => {
    expect(readHealth({ status: 'odd', calls: { active: 1, limit: 5 } })).toMatchObject({
      status: 'degraded',
      calls: { active: 1, limit: 5 },
    });
  });
});
