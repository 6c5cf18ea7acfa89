// The server under test: started on a free port with its own data folder, ended by its process id.
import { spawn, execFile } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

export const ROOT = resolve(fileURLToPath(import.meta.url), '../../..');
export const MODELS = resolve(process.env.AVATAR_MODELS ?? join(ROOT, 'data/models'));
export const BINARY = resolve(process.env.AVATAR_BIN ?? join(ROOT, 'target/debug/avatar'));
/** The likeliest words every time, so that what a run says can be said again. */
const ENVIRONMENT = { ...process.env, AVATAR_MODELS: MODELS, AVATAR_SESSION_TEMPERATURE: '0' };
/** Models load before the server answers; a slow machine under load takes its time. */
const START_LIMIT_MS = 120_000;
const STOP_LIMIT_MS = 15_000;

const run = promisify(execFile);

/** A folder that is removed when the test process ends. */
export function scratch() {
  const folder = mkdtempSync(join(tmpdir(), 'avatar-e2e-'));
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

export class Server {
  constructor(settings, dataDir, { host = '127.0.0.1', scheme = 'http' }) {
    this.settings = settings;
    this.dataDir = dataDir;
    this.host = host;
    this.scheme = scheme;
  }

  /** Starts a server; `settings` are further environment variables, such as `AVATAR_MAX_CALLS`; `place`: its `host` and `scheme`. */
  static async start(settings = {}, place = {}) {
    const server = new Server(settings, scratch(), place);
    await server.start();
    return server;
  }

  async start() {
    // Started again it is where it was: a page that calls it again looks for it there.
    this.port ??= await freePort(this.host);
    this.url = `${this.scheme}://${this.host}:${this.port}`;
    this.log = '';
    const arguments_ = ['serve', '--listen', `${this.host}:${this.port}`, '--data-dir', this.dataDir];
    // Its working folder is its own, so that no stray configuration file is read.
    this.process = spawn(BINARY, arguments_, { cwd: this.dataDir, env: { ...ENVIRONMENT, ...this.settings } });
    this.ended = new Promise((done) => this.process.on('exit', (code, signal) => done(signal ?? code)));
    this.process.on('error', (error) => (this.log += `\n${error}`));
    const keep = (chunk) => (this.log = (this.log + chunk).slice(-20_000));
    this.process.stdout.on('data', keep);
    this.process.stderr.on('data', keep);
    const killOnExit = () => this.process.kill('SIGKILL');
    process.on('exit', killOnExit);
    void this.ended.then(() => process.off('exit', killOnExit));

    for (const limit = Date.now() + START_LIMIT_MS; ; await sleep(100)) {
      const answer = await fetch(`${this.url}/health`).catch(() => null);
      if (answer?.status === 200) return;
      const gone = this.process.exitCode ?? this.process.signalCode ?? (this.process.pid === undefined ? 'it could not be started' : null);
      if (gone !== null) throw new Error(`${BINARY} ended (${gone}):\n${this.log}`);
      if (Date.now() > limit) throw new Error(`the server does not become healthy (${answer?.status}):\n${this.log}`);
    }
  }

  /** Ends it as an administrator would. */
  async stop() {
    this.process.kill('SIGTERM');
    const killer = setTimeout(() => this.process.kill('SIGKILL'), STOP_LIMIT_MS);
    await this.ended;
    clearTimeout(killer);
  }

  /** Ends it as a power cut would. */
  async kill() {
    this.process.kill('SIGKILL');
    await this.ended;
  }

  async json(path) {
    const answer = await fetch(this.url + path);
    if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
    return answer.json();
  }
}

/** Runs the command-line program and gives what it prints. */
export async function avatar(...arguments_) {
  const { stdout } = await run(BINARY, arguments_, { cwd: tmpdir(), env: ENVIRONMENT, maxBuffer: 1 << 24 });
  return stdout.trim();
}

/** A port that is free for TCP and for UDP: the server takes both. */
async function freePort(host) {
  for (let tries = 0; tries < 20; tries += 1) {
    const port = await new Promise((done, fail) => {
      const probe = createServer().on('error', fail).listen(0, host, () => {
        const { port } = probe.address();
        probe.close(() => done(port));
      });
    });
    const free = await new Promise((done) => {
      const probe = createSocket('udp4').on('error', () => done(false));
      probe.bind(port, host, () => probe.close(() => done(true)));
    });
    if (free) return port;
  }
  throw new Error('no port is free');
}
