import { type FSWatcher, watch as watchFolder } from 'node:fs';
import { constants, open, realpath } from 'node:fs/promises';
import { dirname, extname, resolve } from 'node:path';

import { inject, injectable, optional, type ServiceIdentifier } from 'inversify';

import { textOf } from '../errors/errors.ts';
import { packageMissing } from '../errors/package-missing.ts';
import type { WithDefaults } from '../internal/defaults.ts';
import { token } from '../internal/token.ts';
import { Logger } from '../logger/logger.ts';
import { pause } from '../runtime/bounded.ts';
import { Clock, Timers } from '../runtime/runtime.ts';
import { BrokenRecords } from './kit/broken-records.ts';
import type { DriverTools, LeasedNode, RegistryDriver, Snapshot, WatchFeed } from './kit/driver.ts';
import { DrivenRegistry } from './kit/driven-registry.ts';
import { type DriverFailure, invalidAddress } from './kit/errors.ts';
import { NodeTable } from './kit/node-table.ts';
import { checkedNode, serviceParts } from './kit/records.ts';
import { WatchFeeds } from './kit/watch-feeds.ts';
import type { Registry, RegistryCapabilities, RegistryOptions } from './registry.ts';

/**
 * Options of a {@link FileRegistry}. Its address is the path of a file: YAML if it ends in `.yaml` or `.yml`, JSON
 * otherwise.
 */
export interface FileRegistryOptions extends RegistryOptions {
  /** Longest time between two reads in milliseconds, for file systems that report no changes. @default 2_000 */
  readonly maxReadMs?: number | undefined;
  /**
   * Time in milliseconds for which a changed file must stay the same before it counts: it may be half written.
   * @default 50
   */
  readonly settleMs?: number | undefined;
  /** Time in milliseconds for which the services of a file stay after it became empty or was removed. @default 5_000 */
  readonly absentMs?: number | undefined;
  /** Size in bytes above which a file is not read. @default 16_777_216 */
  readonly maxFileBytes?: number | undefined;
}
/** Container key of the {@link FileRegistryOptions}. */
export const FileRegistryOptions: ServiceIdentifier<FileRegistryOptions> = token('registry', 'FileRegistryOptions');

const defaults = {
  timeoutMs: 5_000,
  ttlMs: 30_000,
  maxReadMs: 2_000,
  settleMs: 50,
  absentMs: 5_000,
  maxFileBytes: 16_777_216,
} as const;
type Settings = WithDefaults<FileRegistryOptions, typeof defaults>;

// A file that changes all the time is used as it is after so many reads.
const maxReads = 20;

/** Finds the services that a file lists. The file is read again when it changes. Services cannot register. */
@injectable()
export class FileRegistry extends DrivenRegistry<Settings> implements Registry {
  static readonly capabilities: RegistryCapabilities = {
    registers: false,
    expires: false,
    shared: true,
    watches: true,
  };

  constructor(
    @inject(FileRegistryOptions) @optional() options: FileRegistryOptions = {},
    @inject(Clock) @optional() clock?: Clock,
    @inject(Timers) @optional() timers?: Timers,
    @inject(Logger) @optional() logger?: Logger,
  ) {
    const spec = {
      name: 'file',
      capabilities: FileRegistry.capabilities,
      optionsName: 'FileRegistryOptions',
      defaults,
      open: (settings: Settings, tools: DriverTools) => new FileDriver(settings, tools),
    };
    super(spec, options, { clock, timers, logger });
  }
}

class FileDriver implements RegistryDriver {
  readonly server: string;
  readonly bounds: { readonly minReadMs: number; readonly maxReadMs: number };
  readonly #path: string;
  readonly #settings: Settings;
  readonly #tools: DriverTools;
  readonly #broken: BrokenRecords;
  readonly #feeds = new WatchFeeds();
  /** Watchers by folder: the file's, and that of the file to which a link leads. */
  readonly #watchers = new Map<string, FSWatcher>();
  #loading: Promise<Snapshot> | undefined;
  /** The last valid text, and its nodes. */
  #valid: { readonly text: string; readonly nodes: readonly LeasedNode[] } | undefined;
  #absentSinceMs: number | undefined;
  #isBroken = false;

  constructor(settings: Settings, tools: DriverTools) {
    const { address = '', maxReadMs, settleMs } = settings;
    if (address === '') throw invalidAddress('the file registry needs a file: set TENON_REGISTRY_ADDRESS to its path');
    this.#path = resolve(address);
    this.server = `the file ${address}`;
    this.bounds = { minReadMs: Math.max(1, settleMs), maxReadMs };
    this.#settings = settings;
    this.#tools = tools;
    this.#broken = new BrokenRecords(tools.logger);
  }

  read(): Promise<Snapshot> {
    this.#loading ??= this.#load().finally(() => (this.#loading = undefined));
    return this.#loading;
  }

  watch(feed: WatchFeed, signal: AbortSignal): void {
    this.#feeds.join(feed, signal, () => {
      if (this.#feeds.size === 0) this.close();
    });
  }

  failure(cause: unknown): DriverFailure {
    return {
      kind: 'unreachable',
      why: textOf(cause).split('\n')[0],
      remedy: 'TENON_REGISTRY_ADDRESS says which file it is',
    };
  }

  close(): void {
    for (const watcher of this.#watchers.values()) watcher.close();
    this.#watchers.clear();
  }

  async #load(): Promise<Snapshot> {
    // Watched before it is read, so that no change is missed in between.
    await this.#watchFolders();
    try {
      const text = await this.#settledText();
      if (text === this.#valid?.text) this.#absentSinceMs = undefined;
      else if (text.trim() === '') return this.#absent(new Error('it is empty'));
      else this.#valid = { text, nodes: this.#nodesOf(await this.#parsed(text)) };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return this.#absent(error);
      return this.#lastValid(error);
    }
    this.#absentSinceMs = undefined;
    if (this.#isBroken) this.#tools.logger.info(`${this.server} is read again`);
    this.#isBroken = false;
    return { nodes: this.#valid?.nodes ?? [] };
  }

  /** Reads until two reads return the same text, or the last valid one. */
  async #settledText(): Promise<string> {
    const { settleMs } = this.#settings;
    let text = await this.#text();
    for (let reads = 1; reads < maxReads && text !== this.#valid?.text; reads += 1) {
      await pause(this.#tools.timers, settleMs);
      const before = text;
      text = await this.#text();
      if (text === before) break;
    }
    return text;
  }

  async #text(): Promise<string> {
    const { maxFileBytes } = this.#settings;
    // The opening of a pipe would wait for its writer.
    const file = await open(this.#path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const stat = await file.stat();
      if (!stat.isFile()) throw new Error('it is no file');
      if (stat.size > maxFileBytes) throw new Error(`it is larger than ${maxFileBytes} bytes`);
      // Some editors begin a text with a mark of its encoding.
      return (await file.readFile('utf8')).replace(/^\uFEFF/, '');
    } finally {
      await file.close();
    }
  }

  /** Keeps the services of a missing file for `absentMs`: between its removal and its next version there is no file. */
  #absent(why: unknown): Snapshot {
    const now = this.#tools.clock.monotonicMs();
    const { absentMs } = this.#settings;
    this.#absentSinceMs ??= now;
    const leftMs = this.#absentSinceMs + absentMs - now;
    if (leftMs > 0 || !this.#valid) return { ...this.#lastValid(why), readAgainMs: Math.max(1, leftMs) };
    return { nodes: [] };
  }

  /** Returns the services of the last valid text, and logs once why. Throws if there is none. */
  #lastValid(why: unknown): Snapshot {
    if (!this.#valid) throw why;
    if (!this.#isBroken) {
      const message = `${this.server} cannot be used (${inOneLine(why)}): the services that it listed before stay`;
      this.#tools.logger.warn(message);
    }
    this.#isBroken = true;
    return { nodes: this.#valid.nodes };
  }

  async #parsed(text: string): Promise<unknown> {
    if (!/^\.ya?ml$/i.test(extname(this.#path))) return parsedJson(text);
    const { parse } = await loadYaml();
    // In this schema every scalar is a text: the version 1.10 does not become the number 1.1.
    return parse(text, { schema: 'failsafe', logLevel: 'error', maxAliasCount: 100 }) as unknown;
  }

  /** Returns the nodes of a list of services, which may stand under `services`. A node is an object, or its address. */
  #nodesOf(value: unknown): readonly LeasedNode[] {
    const listed: unknown = objectOf(value)['services'] ?? value;
    if (!Array.isArray(listed)) throw new Error('it is no list of services');
    const table = new NodeTable();
    for (const [at, fields] of (listed as unknown[]).entries()) {
      const place = `services[${at}] of ${this.server}`;
      const { name, nodes, ...more } = objectOf(fields);
      const service = this.#broken.read(place, () => serviceParts(name, more));
      for (const [index, one] of (Array.isArray(nodes) ? (nodes as unknown[]) : []).entries()) {
        const { address, id = `${String(name)}-${String(address)}`, metadata } = objectOf(one, { address: one });
        const node =
          service && this.#broken.read(`nodes[${index}] of ${place}`, () => checkedNode(id, address, metadata));
        if (node) table.put({ ...service, nodes: [node] });
      }
    }
    return [...table.nodes()];
  }

  /**
   * Watches folders instead of the file: editors replace the file, and Kubernetes the folder to which a link leads.
   */
  async #watchFolders(): Promise<void> {
    if (this.#feeds.size === 0) return;
    const real = await realpath(this.#path).catch(() => this.#path);
    // The last watch may have ended meanwhile.
    if (this.#feeds.size === 0) return;
    const wanted = new Set([dirname(this.#path), dirname(real)]);
    for (const [folder, watcher] of this.#watchers) {
      if (wanted.has(folder)) continue;
      this.#watchers.delete(folder);
      watcher.close();
    }
    for (const folder of wanted) if (!this.#watchers.has(folder)) this.#watchFolder(folder);
  }

  #watchFolder(folder: string): void {
    try {
      const watcher = watchFolder(folder, { persistent: false }, () => {
        for (const feed of this.#feeds) feed.refresh();
      });
      this.#watchers.set(folder, watcher);
      watcher.on('error', () => {
        watcher.close();
        if (this.#watchers.get(folder) === watcher) this.#watchers.delete(folder);
      });
    } catch {
      // A folder that is missing or cannot be watched: the file is still read every `maxReadMs`.
    }
  }
}

function inOneLine(error: unknown): string {
  return textOf(error).replace(/\s+/g, ' ').trim();
}

function objectOf(value: unknown, otherwise: object = {}): Readonly<Record<string, unknown>> {
  return (typeof value === 'object' && value !== null ? value : otherwise) as Readonly<Record<string, unknown>>;
}

function parsedJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    throw new Error(`it is no JSON${lineAndColumn(text, textOf(error))}: ${textOf(error)}`, { cause: error });
  }
}

/** The position in a message of `JSON.parse`, as line and column. Empty if the message has none. */
function lineAndColumn(text: string, message: string): string {
  const [, found] = /position (\d+)/.exec(message) ?? [];
  if (found === undefined && !/end of JSON/.test(message)) return '';
  const lines = text.slice(0, Number(found ?? text.length)).split('\n');
  return ` at line ${lines.length}, column ${(lines.at(-1) ?? '').length + 1}`;
}

async function loadYaml(): Promise<typeof import('yaml')> {
  try {
    return await import('yaml');
  } catch (error) {
    throw packageMissing('a file registry in YAML', 'yaml', error);
  }
}
