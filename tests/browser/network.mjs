// A network of its own for a browser: a namespace with two cables to this machine, of which one is plugged in. Needs root and Linux;
// what is made goes away with it.
import { execFile } from 'node:child_process';
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { scratch } from './server.mjs';

const run = promisify(execFile);
const ip = async (...arguments_) => (await run('ip', arguments_)).stdout;

/** Why there can be no such network here; `null`: there can. */
export async function withoutNamespaces() {
  const name = `avatar-try-${process.pid}`;
  const cable = `at${process.pid}`;
  try {
    await ip('netns', 'add', name);
    // Containers may have the one and not the other.
    await ip('link', 'add', `${cable}h`, 'type', 'veth', 'peer', 'name', `${cable}n`, 'netns', name);
    await ip('link', 'del', `${cable}h`);
    await ip('netns', 'exec', name, 'true');
    return null;
  } catch (error) {
    return `network namespaces can't be made here (they need root on Linux): ${String(error.stderr || error.message).trim()}`;
  } finally {
    await ip('link', 'del', `${cable}h`).catch(() => undefined);
    await ip('netns', 'del', name).catch(() => undefined);
  }
}

/**
 * Two cables, each a subnet `10.213.<n>.0/24` with this machine at `.1` and the browser at `.2`. The first is plugged in, the second
 * is not. The server is at [`Network.server`], which can be reached over either.
 */
export class Network {
  server = '10.213.1.1';

  constructor() {
    this.name = `avatar-${process.pid}`;
    /** Names of interfaces have 15 letters at most. */
    this.cables = [1, 2].map((n) => ({ n, here: `av${process.pid}h${n}`, there: `av${process.pid}n${n}` }));
  }

  static async make() {
    const network = new Network();
    await ip('netns', 'add', network.name);
    try {
      await network.inside('link', 'set', 'lo', 'up');
      for (const { n, here, there } of network.cables) {
        await ip('link', 'add', here, 'type', 'veth', 'peer', 'name', there, 'netns', network.name);
        await ip('addr', 'add', `10.213.${n}.1/24`, 'dev', here);
        await ip('link', 'set', here, 'up');
      }
      await network.plugIn(0);
      return network;
    } catch (error) {
      await network.remove();
      throw error;
    }
  }

  /** As `ip` has it, in the browser's network. */
  inside(...arguments_) {
    return ip('-n', this.name, ...arguments_);
  }

  /** The cable gets its address, and the way to everywhere. */
  async plugIn(cable) {
    const { n, there } = this.cables[cable];
    await this.inside('addr', 'flush', 'dev', there);
    await this.inside('link', 'set', there, 'up');
    await this.inside('addr', 'add', `10.213.${n}.2/24`, 'dev', there);
    await this.inside('route', 'replace', 'default', 'via', `10.213.${n}.1`, 'dev', there);
  }

  unplug(cable) {
    return this.inside('link', 'set', this.cables[cable].there, 'down');
  }

  /** The first cable gets another address and loses the one it has, as when a lease is not renewed. */
  async renumber() {
    const { there } = this.cables[0];
    await run('ip', ['netns', 'exec', this.name, 'sh', '-c', `echo 1 > /proc/sys/net/ipv4/conf/${there}/promote_secondaries`]);
    await this.inside('addr', 'add', '10.213.1.3/24', 'dev', there);
    await this.inside('addr', 'del', '10.213.1.2/24', 'dev', there);
    // The way to everywhere went with the address that it was given for, or did not.
    await this.inside('route', 'replace', 'default', 'via', '10.213.1.1', 'dev', there);
  }

  /** A program that is `program` in the browser's network. */
  wrap(program) {
    const script = join(scratch(), 'inside');
    writeFileSync(script, `#!/bin/sh\nexec ip netns exec ${this.name} ${program} "$@"\n`);
    chmodSync(script, 0o755);
    return script;
  }

  async remove() {
    // A namespace that a dying browser still holds on to would keep its cables.
    for (const { here } of this.cables) await ip('link', 'del', here).catch(() => undefined);
    await ip('netns', 'del', this.name).catch(() => undefined);
  }
}
