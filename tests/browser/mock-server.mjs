// A test double of the server for the states that a real one seldom shows: a thousand conversations, slow answers, refusals,
// recordings that fail. Serves the built page and the REST contract from memory, on loopback only. No calls: those are tested
// against the real server.
//
//   node mock-server.mjs [port]      to look at the page by hand
import { createReadStream, existsSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import { extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { setTimeout as sleep } from 'node:timers/promises';
import * as data from './mock-data.mjs';
import { encodeWav } from './wav.mjs';

const DIST = fileURLToPath(new URL('../../web/dist/', import.meta.url));
/** Of a request; the server's own limit for a sample is 25 MB. */
const BODY_LIMIT = 26 * 1024 * 1024;
/** How long a page may take to listen for news. */
const LISTENER_LIMIT_MS = 20_000;
/** Streams of news that are open at once; another is refused. */
const STREAM_LIMIT = 16;
const KINDS = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml' };
/** As the real server sends it: what the page does under it is part of what is tested. */
const POLICY =
  "default-src 'self'; connect-src 'self'; media-src 'self' blob: mediastream:; img-src 'self' data:; style-src 'self' 'unsafe-inline'; " +
  "object-src 'none'; base-uri 'none'; frame-ancestors 'none'";

export class MockServer {
  /** `now`: what the conversations' times are counted back from. */
  static async start({ count = 1_000, now = Date.now(), port = 0 } = {}) {
    const server = new MockServer(count, now);
    await new Promise((done) => server.http.listen(port, '127.0.0.1', done));
    server.url = `http://127.0.0.1:${server.http.address().port}`;
    return server;
  }

  constructor(count, now) {
    this.conversations = data.conversations(count, now);
    this.voices = data.voices(now);
    this.health = data.health();
    this.status = data.status();
    this.cloning = { available: true, engine: 'pocket', hint: null, reading: data.READING };
    /** `[pattern, {status, code, message, retryAfter}]`: answers of requests `METHOD /path` that match. */
    this.failures = [];
    /** `[pattern, promise]`: such requests wait for it. */
    this.held = [];
    this.key = null;
    /** The form of the last sample that came, as text. */
    this.sample = '';
    /** `METHOD /path?query`, the newest last. */
    this.asked = [];
    this.streams = new Set();
    this.http = createServer((request, response) => {
      this.serve(request, response).catch((error) => {
        if (!response.headersSent) refuse(response, 500, 'internal', String(error));
        else response.destroy();
      });
    });
  }

  async stop() {
    for (const stream of this.streams) stream.end();
    this.http.closeAllConnections();
    await new Promise((done) => this.http.close(done));
  }

  /** Holds requests `METHOD /path` that match, until what it gives is called. */
  hold(pattern) {
    const { promise, resolve } = deferred();
    const entry = [pattern, promise];
    this.held.push(entry);
    return () => {
      this.held = this.held.filter((other) => other !== entry);
      resolve();
    };
  }

  /** Tells every page that listens, once one does. */
  async tell(event, value) {
    for (const limit = Date.now() + LISTENER_LIMIT_MS; this.streams.size === 0; await sleep(20)) {
      if (Date.now() > limit) throw new Error('no page listens for news');
    }
    for (const stream of this.streams) stream.write(`event: ${event}\ndata: ${JSON.stringify(value)}\n\n`);
  }

  async serve(request, response) {
    response.setHeader('Content-Security-Policy', POLICY);
    const url = new URL(request.url, 'http://127.0.0.1');
    const call = `${request.method} ${url.pathname}`;
    this.asked.push(`${request.method} ${request.url}`);
    if (this.asked.length > 1_000) this.asked.shift();
    const body = await read(request);
    await this.held.find(([pattern]) => pattern.test(call))?.[1];
    if (url.pathname.startsWith('/api/') && this.key !== null && request.headers.authorization !== `Bearer ${this.key}`) {
      return refuse(response, 401, request.headers.authorization === undefined ? 'missing_api_key' : 'invalid_api_key', 'an API key is needed');
    }
    const failure = this.failures.find(([pattern]) => pattern.test(call));
    if (failure !== undefined) {
      const { status, code = 'internal', message = 'it did not work', retryAfter } = failure[1];
      if (retryAfter !== undefined) response.setHeader('Retry-After', retryAfter);
      return refuse(response, status, code, message);
    }
    if (url.pathname === '/health') return json(response, this.health, this.health.status === 'ok' ? 200 : 503);
    if (url.pathname.startsWith('/api/')) return this.api(request, response, url, body);
    return page(response, url.pathname);
  }

  api(request, response, url, body) {
    const { method } = request;
    const [, , area, id, ...rest] = url.pathname.split('/').map(decodeURIComponent);
    if (area === 'status') return json(response, this.status);
    if (area === 'ice-servers') return json(response, []);
    if (area === 'voice-cloning') return json(response, this.cloning);
    if (area === 'events') return this.follow(response);
    if (area === 'conversations' && id === undefined) return this.list(response, url);
    if (area === 'conversations') return this.conversation(response, method, id, rest, url, body);
    if (area === 'voice-profiles') return json(response, this.voices);
    if (area === 'voice-profile') return this.voice(response, method, id, rest, body);
    return refuse(response, 404, 'not_found', `there is no ${url.pathname}`);
  }

  follow(response) {
    if (this.streams.size >= STREAM_LIMIT) return refuse(response, 503, 'too_many_streams', 'enough pages listen');
    response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' });
    response.write(': hello\n\n');
    this.streams.add(response);
    response.on('close', () => this.streams.delete(response));
  }

  list(response, url) {
    const limit = Math.min(Math.max(Number(url.searchParams.get('limit') ?? 20), 1), 100);
    const q = url.searchParams.get('q')?.toLowerCase() ?? '';
    const found = q === '' ? this.conversations : this.conversations.filter((one) => matchOf(one, q) !== null);
    const from = found.findIndex(({ id }) => id === url.searchParams.get('before')) + 1;
    const items = found.slice(from, from + limit).map((one) => summary(one, q));
    if (from + limit < found.length) {
      url.searchParams.set('before', items.at(-1).id);
      response.setHeader('Link', `<${url.pathname}${url.search}>; rel="next"`);
    }
    return json(response, items);
  }

  conversation(response, method, id, rest, url, body) {
    const one = this.conversations.find((other) => other.id === id);
    if (one === undefined) return refuse(response, 404, 'not_found', `there is no conversation ${id}`);
    const [what, name, act, side] = rest;
    if (what === 'export') {
      response.setHeader('Content-Disposition', `attachment; filename="${id}.${name === 'audio' ? 'ogg' : 'json'}"`);
      return name === 'audio' ? sound(response, 2_000, 220) : json(response, one);
    }
    if (what === 'turns') {
      const turn = one.turns.find((other) => other.id === name);
      if (turn === undefined) return refuse(response, 404, 'not_found', `there is no turn ${name}`);
      if (act === 'audio') {
        const hq = url.searchParams.get('quality') === 'hq';
        return sound(response, turn[side].duration_ms, side === 'user' ? 150 : hq ? 262 : 220);
      }
      if (act === 'render') {
        turn.assistant.hq = { state: 'pending' };
        return json(response, { state: 'pending' }, 202);
      }
      edit(turn.user, body.user_text);
      edit(turn.assistant, body.assistant_text);
      return json(response, turn);
    }
    if (method === 'DELETE') {
      this.conversations = this.conversations.filter((other) => other !== one);
      return json(response, { success: true });
    }
    if (method === 'PATCH') {
      one.title = body.title;
      return json(response, { ...one, turns: undefined });
    }
    return json(response, one);
  }

  voice(response, method, id, rest, body) {
    if (id === undefined) {
      this.sample = body.text.slice(0, 4_000);
      const name = /name="name"\r\n\r\n([^\r]*)/.exec(body.text)?.[1] ?? 'Voice';
      if (this.voices.some((voice) => voice.name === name)) return refuse(response, 400, 'name_taken', `another voice is called ${name}`);
      const made = { ...this.voices[0], id: `vp_${this.voices.length}`, name, state: this.cloning.available ? 'computing' : 'waiting', duration: 6.2 };
      this.voices = [made, ...this.voices];
      return json(response, { profile_id: made.id, name, duration: made.duration, warnings: [] }, 201);
    }
    const one = this.voices.find((other) => other.id === id);
    if (one === undefined) return refuse(response, 404, 'not_found', `there is no voice ${id}`);
    if (rest[0] === 'audio') return sound(response, (one.duration ?? 3) * 1000, 196);
    if (method === 'PATCH') {
      one.name = body.name;
      return json(response, one);
    }
    if (method === 'DELETE') {
      if (one.kind === 'preset') return refuse(response, 409, 'built_in', 'built-in voices stay');
      this.voices = this.voices.filter((other) => other !== one);
      return json(response, { success: true });
    }
    return json(response, one);
  }
}

function deferred() {
  let resolve;
  const promise = new Promise((done) => (resolve = done));
  return { promise, resolve };
}

function edit(side, text) {
  if (text === undefined) return;
  if (text === null) {
    side.text = side.original ?? side.text;
    delete side.original;
  } else {
    side.original ??= side.text;
    side.text = text;
  }
}

function matchOf({ title, turns }, q) {
  for (const { id, user, assistant } of turns) {
    for (const [side, { text }] of Object.entries({ user, assistant })) {
      const at = text.toLowerCase().indexOf(q);
      if (at === -1) continue;
      const from = Math.max(0, at - 24);
      const pieces = [
        { text: (from > 0 ? '…' : '') + text.slice(from, at), hit: false },
        { text: text.slice(at, at + q.length), hit: true },
        { text: text.slice(at + q.length, at + q.length + 60), hit: false },
      ];
      return { turn: id, side, pieces: pieces.filter((piece) => piece.text !== '') };
    }
  }
  return title?.toLowerCase().includes(q) ? { turn: turns[0].id, side: 'user', pieces: [{ text: turns[0].user.text, hit: false }] } : null;
}

function summary(one, q) {
  const count = (state) => one.turns.filter(({ assistant }) => assistant.hq.state === state).length;
  return {
    id: one.id,
    title: one.title,
    turns: one.turns.length,
    created_at: one.created_at,
    updated_at: one.updated_at,
    preview: one.turns[0].user.text,
    duration_ms: one.duration_ms,
    door: 'webrtc',
    voice: one.turns[0].voice,
    hq: { pending: count('pending') + count('rendering'), ready: count('ready'), failed: count('failed') },
    ...(q === '' ? {} : { match: matchOf(one, q) }),
  };
}

const sounds = new Map();

/** A soft tone of `ms`, which tells the sides apart by its pitch. */
function sound(response, ms, pitch) {
  const key = `${Math.round(ms)} ${pitch}`;
  if (!sounds.has(key)) {
    const rate = 16_000;
    const samples = Float32Array.from({ length: Math.round((rate * ms) / 1000) }, (_, i) => 0.2 * Math.sin((2 * Math.PI * pitch * i) / rate) * Math.min(1, i / 800));
    // As many as the tests play.
    if (sounds.size > 50) sounds.clear();
    sounds.set(key, encodeWav(samples, rate));
  }
  response.writeHead(200, { 'Content-Type': 'audio/wav' }).end(sounds.get(key));
}

function page(response, path) {
  const wanted = normalize(path).replace(/^[/\\]+/, '');
  const file = join(DIST, wanted);
  const found = wanted !== '' && file.startsWith(DIST) && existsSync(file) && statSync(file).isFile();
  if (!found && extname(path) !== '') return refuse(response, 404, 'not_found', `there is no ${path}`);
  const shown = found ? file : join(DIST, 'index.html');
  response.writeHead(200, { 'Content-Type': KINDS[extname(shown)] ?? 'application/octet-stream' });
  createReadStream(shown).pipe(response);
}

function json(response, value, status = 200) {
  response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(value));
}

function refuse(response, status, code, message) {
  json(response, { error: { type: 'invalid_request_error', code, message, param: null } }, status);
}

async function read(request) {
  const parts = [];
  let length = 0;
  for await (const part of request) {
    length += part.length;
    if (length > BODY_LIMIT) throw new Error('the request is too large');
    parts.push(part);
  }
  const text = Buffer.concat(parts).toString('utf8');
  return (request.headers['content-type'] ?? '').startsWith('application/json') ? JSON.parse(text) : { text };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const server = await MockServer.start({ port: Number(process.argv[2] ?? 8090) });
  console.log(server.url);
}
