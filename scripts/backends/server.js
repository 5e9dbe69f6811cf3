import { spawn } from 'node:child_process';
import { closeSync, fstatSync, mkdirSync, mkdtempSync, openSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { beforeExit, run } from './cleanup.js';
import { servers } from './definitions.js';
import { freePort } from './free-port.js';
import { guard } from './guard.js';
import { host } from './probes.js';
import { endProcessesIn, processesIn, signalAll, stopAll } from './processes.js';

// RabbitMQ and Kafka take five seconds of a processor, which a busy machine may not give them soon.
const startMs = 200_000;
const stopMs = 10_000;

/** @type {Set<BackendServer>} */
const running = new Set();

// Signals do not reach groups of their own.
beforeExit(() => {
  for (const server of running) server.signal('SIGKILL');
});

/**
 * A real server on loopback, with a folder of its own. What it started ends with it, and it ends with this process.
 */
export class BackendServer {
  /** The processes of the server, each the leader of a group.
   * @type {{ pid: number, ended: Promise<unknown>, hasEnded: () => boolean, logged: () => string,
   *   stopSignal: NodeJS.Signals }[]} */
  #processes = [];
  /** @type {Map<string, number>} */
  #ports = new Map();
  #endGuard = () => {};
  /** @type {string | undefined} */
  #folder;
  #port = 0;

  /** @param {string} name @param {import('./definitions.js').ServerOptions} [options] */
  constructor(name, options = {}) {
    const definition = servers[name];
    if (!definition) throw new Error(`there is no server "${name}": ${Object.keys(servers).join(', ')}`);
    this.name = name;
    this.options = options;
    this.definition = definition;
    this.#port = options.port ?? 0;
  }

  get port() {
    if (this.#port === 0) throw new Error(`${this.name} is not started yet: ask within a test or a hook`);
    return this.#port;
  }

  /** `127.0.0.1:<port>`; the same after a restart. */
  get address() {
    return `${host}:${this.port}`;
  }

  /** More addresses and files, as its definition lists them. */
  get details() {
    return this.definition.details?.(this.#place, this.options) ?? {};
  }

  /** The process id of the server, or of the first of its processes. */
  get pid() {
    const pid = this.#processes[0]?.pid;
    if (pid === undefined) throw new Error(`${this.name} is not running`);
    return pid;
  }

  /** @returns {string} */
  get folder() {
    return (this.#folder ??= mkdtempSync(join(realpathSync(tmpdir()), `tenon-${this.name}-`)));
  }

  /** Starts it, and resolves when it serves. After `stop()` or `kill()`: on the same port again. */
  async start() {
    const isFixed = this.#port !== 0;
    for (let attempt = 1; ; attempt += 1) {
      if (!isFixed) {
        this.#port = await freePort();
        this.#ports.clear();
      }
      try {
        await this.#startOnce();
        return this;
      } catch (error) {
        await this.kill();
        // Between finding a free port and listening on it another process may have taken it.
        if (isFixed || attempt === 3) throw error;
        this.erase();
      }
    }
  }

  /**
   * Ends it in order (SIGTERM, and SIGKILL if that takes too long), what was started last first, and removes nothing:
   * `start()` brings it back.
   */
  async stop() {
    const isLate = sleep(stopMs, undefined, { ref: false });
    for (const { pid, ended, hasEnded, stopSignal } of this.#processes.toReversed()) {
      if (!hasEnded()) signalAll([-pid], stopSignal);
      await Promise.race([ended, isLate]);
    }
    await this.kill();
  }

  /** Ends it at once (SIGKILL), with all that it started; `start()` brings it back. */
  async kill() {
    const processes = this.#processes;
    const all = processes.length > 0 ? processesIn(this.folder) : [];
    this.signal('SIGKILL');
    this.#processes = [];
    running.delete(this);
    // A child that the process does not wait for would not keep it alive until then.
    const waiting = setInterval(() => {}, 1_000);
    await Promise.all(processes.map(({ ended }) => ended));
    clearInterval(waiting);
    if (processes.length > 0) await endProcessesIn(this.folder, all);
    this.#endGuard();
  }

  /** Stops it, and starts it on the same port. */
  async restart() {
    await this.stop();
    await this.start();
  }

  /** Makes it hang: connections stay open, nothing is answered until `resume()`. */
  pause() {
    this.signal('SIGSTOP');
    stopAll(this.#all);
  }

  resume() {
    this.signal('SIGCONT');
  }

  /**
   * Sends a signal to its processes, and to all that they started.
   * @param {NodeJS.Signals} signal
   */
  signal(signal) {
    const leaders = this.#processes.filter(({ hasEnded }) => !hasEnded()).map(({ pid }) => pid);
    const groups = leaders.map((pid) => -pid);
    signalAll(groups, signal);
    // Some start others in groups of their own, which are not to end in order by themselves.
    const isForAll = signal === 'SIGKILL' || signal === 'SIGSTOP' || signal === 'SIGCONT';
    if (isForAll) signalAll(this.#all, signal);
  }

  /** All its processes, where that can be known. */
  get #all() {
    return this.#folder === undefined ? [] : processesIn(this.#folder);
  }

  /**
   * Runs a tool of the server, which knows where the server is and who may ask it, to its end.
   * @param {string} tool @param {readonly string[]} args
   * @returns {Promise<string>} its standard output
   */
  async tool(tool, ...args) {
    const { command, args: first, env } = this.toolCommand(tool);
    return run(command, [...first, ...args], '.', { env });
  }

  /** The command of such a tool, for those who read what it prints while it runs, or write to it. */
  toolCommand(/** @type {string} */ tool) {
    const { tools } = this.definition;
    if (!tools) throw new Error(`${this.name} has no tools`);
    return tools(this.#place, this.options, tool);
  }

  /** Removes its data. It must not be running. */
  erase() {
    if (this.#processes.length > 0) throw new Error(`${this.name} is running: stop it first`);
    rmSync(this.folder, { recursive: true, force: true });
    mkdirSync(this.folder, { mode: 0o700 });
  }

  /** Stops it and removes its folder. */
  async dispose() {
    await this.kill();
    if (this.#folder !== undefined) rmSync(this.#folder, { recursive: true, force: true });
    this.#folder = undefined;
  }

  /** Lets it run on after this process has ended, and returns the leaders of its process groups. */
  leave() {
    running.delete(this);
    this.#endGuard();
    return this.#processes.map(({ pid }) => pid);
  }

  /** @returns {import('./definitions.js').Place} */
  get #place() {
    const portOf = (/** @type {string} */ name) => {
      const port = this.#ports.get(name);
      if (port === undefined) throw new Error(`${this.name} has no port "${name}": its definition lists its ports`);
      return port;
    };
    return { port: this.port, folder: this.folder, portOf };
  }

  async #startOnce() {
    for (const name of this.definition.ports ?? []) {
      if (!this.#ports.has(name)) this.#ports.set(name, await freePort());
    }
    await this.definition.prepare?.(this.#place, this.options);
    running.add(this);
    this.#endGuard = guard(this.folder);
    for (const one of this.definition.processes(this.#place, this.options)) {
      const { name, isReady } = one;
      const { hasEnded, logged } = this.#spawn(one);
      for (const endsAt = Date.now() + startMs; !(await isReady(logged)); await sleep(20)) {
        if (!hasEnded() && Date.now() < endsAt) continue;
        throw new Error(`${name} did not start on port ${this.port}\n${logged().slice(-4_000)}`);
      }
    }
  }

  /** @param {import('./definitions.js').ServerProcess} process */
  #spawn({ name, command, args, env, user, stopSignal = 'SIGTERM' }) {
    const file = join(this.folder, `${name}.log`);
    const log = openSync(file, 'a');
    const { size } = fstatSync(log);
    // A group of its own: a signal reaches what it starts.
    const child = spawn(command, args, {
      cwd: this.folder,
      detached: true,
      stdio: ['ignore', log, log],
      env: { ...process.env, ...env },
      ...user,
    });
    closeSync(log);
    child.unref();
    const ended = new Promise((resolve) => {
      child.once('exit', resolve);
      child.once('error', resolve);
    });
    const hasEnded = () => child.pid === undefined || child.exitCode !== null || child.signalCode !== null;
    const logged = () => readFileSync(file).subarray(size).toString();
    const started = { pid: child.pid ?? -1, ended, hasEnded, logged, stopSignal };
    this.#processes.push(started);
    return started;
  }
}

/** Ends all servers that this process started. */
export async function disposeAll() {
  await Promise.all([...running].map((server) => server.dispose()));
}
