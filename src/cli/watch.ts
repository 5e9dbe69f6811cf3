import { TenonError } from '../errors/errors.ts';
import { escaped } from '../logger/internal/text.ts';
import type { NodeRecord, Registry, RegistryAction, ServiceRecord } from '../registry/registry.ts';
import { Clock, Random, Timers } from '../runtime/runtime.ts';
import { repeatedly } from '../runtime/retrying.ts';
import { type CliIo, print } from './io.ts';
import {
  metadataOf,
  readService,
  readServices,
  type RegistryCommandOptions,
  stateOf,
  withRegistry,
} from './registry.ts';

const retryMs = 500;
const aliveMs = 60_000;

/** A node as it was last seen. */
interface SeenNode {
  readonly service: ServiceRecord;
  readonly node: NodeRecord;
  readonly text: string;
}

/** Prints what is in a registry, then each change, until the user interrupts it. Resolves to the exit code. */
export async function watchServices(
  io: CliIo,
  name: string | undefined,
  options: RegistryCommandOptions,
): Promise<number> {
  const closed = new AbortController();
  const signal = AbortSignal.any([closed.signal, ...(io.signal ? [io.signal] : [])]);
  // Whoever reads the output may have seen enough, as `head`.
  io.stdout.once('error', () => closed.abort());
  await withRegistry(io, options, async (registry, system) => {
    const now = (): Date => new Date(system.get(Clock).now());
    const follower = new Follower(registry, name, (action, seen) =>
      print(io, options.json === true ? jsonLine(now(), action, seen) : textLine(now(), action, seen)),
    );
    let [hasSucceeded, isFollowing] = [false, false];
    const timers = system.get(Timers);
    // A registry keeps no process alive.
    const alive = timers.every(aliveMs, () => {}, { keepAlive: true });
    const work = async (): Promise<number> => {
      await follower.follow(signal, () => (hasSucceeded = isFollowing = true));
      return retryMs;
    };
    await repeatedly(work, {
      runtime: { random: system.get(Random), timers },
      backoff: { initialMs: retryMs, maxMs: 10_000 },
      signal,
      keepAlive: true,
      onFailure: (error, delayMs, backoff) => {
        // A registry that could never be watched is wrong, and not away.
        if (!hasSucceeded) throw error;
        io.stderr.write(`tenon: ${escaped(TenonError.from(error).message)}; trying again\n`);
        if (!isFollowing) return delayMs;
        isFollowing = false;
        backoff.succeeded();
        return retryMs;
      },
    }).finally(() => alive.cancel());
  });
  return 0;
}

/** Follows one service, or all. What was missed between two watches is found by reading again. */
class Follower {
  readonly #registry: Registry;
  readonly #name: string | undefined;
  readonly #emit: (action: RegistryAction, seen: SeenNode) => void;
  #known = new Map<string, SeenNode>();

  constructor(registry: Registry, name: string | undefined, emit: (action: RegistryAction, seen: SeenNode) => void) {
    this.#registry = registry;
    this.#name = name;
    this.#emit = emit;
  }

  /** Rejects when the watch is lost; resolves when `signal` aborts. */
  async follow(signal: AbortSignal, onStart: () => void): Promise<void> {
    const name = this.#name;
    const watcher = await this.#registry.watch({ signal, ...(name !== undefined && { service: name }) });
    try {
      const records = await (name === undefined ? readServices(this.#registry) : readService(this.#registry, name));
      onStart();
      this.#replace(records);
      for await (const { action, service } of watcher) this.#apply(action, service);
    } finally {
      watcher.stop();
    }
  }

  #replace(records: readonly ServiceRecord[]): void {
    const found = new Set(records.flatMap((service) => service.nodes.map((node) => keyOf(service, node))));
    for (const [key, seen] of this.#known) {
      if (found.has(key)) continue;
      this.#known.delete(key);
      this.#emit('delete', seen);
    }
    for (const service of records) this.#apply('create', service);
  }

  #apply(action: RegistryAction, service: ServiceRecord): void {
    for (const node of service.nodes) {
      const key = keyOf(service, node);
      const before = this.#known.get(key);
      const seen = { service, node, text: JSON.stringify([service.version, node]) };
      if (action === 'delete') {
        if (this.#known.delete(key)) this.#emit('delete', before ?? seen);
      } else if (before?.text !== seen.text) {
        this.#known.set(key, seen);
        this.#emit(before ? 'update' : 'create', seen);
      }
    }
  }
}

function keyOf(service: ServiceRecord, node: NodeRecord): string {
  return JSON.stringify([service.name, node.id]);
}

function textLine(time: Date, action: RegistryAction, { service, node }: SeenNode): string {
  const what = action === 'delete' ? '' : `${stateOf(node)} ${metadataOf(node)}`;
  const parts = [time.toISOString(), action, service.name, service.version, node.id, node.address, what];
  return escaped(parts.join(' ').trimEnd());
}

function jsonLine(time: Date, action: RegistryAction, { service, node }: SeenNode): string {
  return escaped(JSON.stringify({ time: time.toISOString(), action, service: { ...service, nodes: [node] } }));
}
