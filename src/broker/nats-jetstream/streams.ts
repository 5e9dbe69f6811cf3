import { createHash } from 'node:crypto';

import { mismatch } from '../kit/failures.ts';
import { NameEncoding } from '../kit/name-encoding.ts';
import type { ConsumerConfig, ConsumerInfo, JetStreamManager, StreamConfig, StreamInfo } from './library.ts';

/** Settings of the streams that a broker creates. A stream that exists keeps its own: one that differs is an error. */
export interface StreamSettings {
  /**
   * Name of a new stream: this, and its topic.
   * @default 'tenon-'
   */
  readonly streamPrefix?: string | undefined;
  /** @default 'file', or what the stream has */
  readonly storage?: 'file' | 'memory' | undefined;
  /** Servers of a cluster that have the stream. @default 1, or what the stream has */
  readonly replicas?: number | undefined;
  /** Events that a stream keeps: older ones are cut off, handled or not. @default no limit, or what the stream has */
  readonly maxLength?: number | undefined;
  /** Bytes that a stream keeps, in the same way. They are reserved. @default no limit, or what the stream has */
  readonly maxStreamBytes?: number | undefined;
  /** Events that are older, in milliseconds, are cut off. @default no limit, or what the stream has */
  readonly maxAgeMs?: number | undefined;
  /** Time in which a second event with the same `dedupeKey` is dropped. @default 120_000, or what the stream has */
  readonly duplicateWindowMs?: number | undefined;
}

/** A stream at the server. */
export interface StreamPlace {
  readonly name: string;
  /** Changes when a stream of the name is made anew: its sequences mean other events then. */
  readonly created: string;
}

// Codes of errors of the API.
const nameInUse = 10_058;
const subjectsOverlap = 10_065;
const consumerExists = [10_013, 10_148, 10_105];
// Two of them and a sign between are the name of a consumer, which may have 255.
const longestName = 120;
const nanosPerMs = 1_000_000;

const names = new NameEncoding({ allowed: /[A-Za-z0-9-]/, escape: '=' });

/** Encodes a text for the name of a stream or of a consumer, which is also that of a folder. */
export function assetName(text: string): string {
  const name = names.encode(text);
  if (name.length <= longestName) return name;
  return `${name.slice(0, longestName - 33)}=-${createHash('sha256').update(text).digest('hex').slice(0, 31)}`;
}

/** Finds the streams of topics, and creates those that are not there. */
export class Streams {
  readonly #settings: StreamSettings;
  readonly #manager: () => Promise<JetStreamManager>;
  readonly #onNew: (topic: string, stream: StreamPlace) => void;
  readonly #known = new Map<string, Promise<StreamPlace>>();

  /** @param onNew called when `renew` has found another stream */
  constructor(
    settings: StreamSettings,
    manager: () => Promise<JetStreamManager>,
    onNew: (topic: string, stream: StreamPlace) => void,
  ) {
    this.#settings = settings;
    this.#manager = manager;
    this.#onNew = onNew;
  }

  /** The stream that has the topic. It is asked for, or created, at the first call. */
  of(topic: string): Promise<StreamPlace> {
    const known = this.#known.get(topic);
    if (known) return known;
    const found = this.#ensure(topic);
    this.#known.set(topic, found);
    found.catch(() => this.#known.get(topic) === found && this.#known.delete(topic));
    return found;
  }

  /** The stream that has the topic now that `gone` takes no event. However many ask, it is looked for once. */
  async renew(topic: string, gone: StreamPlace): Promise<StreamPlace> {
    const known = this.#known.get(topic);
    const isGone = known && (await known.catch(() => gone)).created === gone.created;
    if (!isGone || this.#known.get(topic) !== known) return this.of(topic);
    this.#known.delete(topic);
    const stream = await this.of(topic);
    if (stream.created !== gone.created) this.#onNew(topic, stream);
    return stream;
  }

  /** Has a stream asked for again; without a topic, all of them. */
  forget(topic?: string): void {
    if (topic === undefined) this.#known.clear();
    else this.#known.delete(topic);
  }

  /**
   * The consumer, which is created if it is not there. `checked` names the properties in which one that is there must
   * not differ.
   */
  async consumer(
    { name: stream }: StreamPlace,
    name: string,
    config: ConsumerConfig,
    checked: readonly (keyof ConsumerConfig)[],
  ): Promise<{ readonly info: ConsumerInfo; readonly isNew: boolean }> {
    const { consumers } = await this.#manager();
    let info = await ifFound(consumers.info(stream, name));
    const isNew = !info;
    try {
      info ??= await consumers.add(stream, config);
    } catch (error) {
      // Another member was quicker.
      if (!consumerExists.includes(codeOf(error))) throw error;
      info = await consumers.info(stream, name);
    }
    const what = `the consumer ${name} of the stream ${stream}`;
    const remedy = `remove it (nats consumer rm ${stream} ${name}), or choose another queue`;
    for (const property of checked) {
      const [wanted, there] = [config[property], info.config[property]];
      if (there !== wanted) throw mismatch('nats-jetstream', what, property, wanted, there, remedy);
    }
    return { info, isNew };
  }

  async #ensure(topic: string): Promise<StreamPlace> {
    const info = (await this.#find(topic)) ?? (await this.#create(topic));
    this.#check(info.config);
    return { name: info.config.name, created: info.created };
  }

  async #find(topic: string): Promise<StreamInfo | undefined> {
    const { streams } = await this.#manager();
    const name = await ifFound(streams.find(topic));
    return name === undefined ? undefined : ifFound(streams.info(name));
  }

  async #create(topic: string): Promise<StreamInfo> {
    const { streamPrefix = 'tenon-' } = this.#settings;
    const config = { name: `${streamPrefix}${assetName(topic)}`, subjects: [topic], ...this.#wanted() };
    const { streams } = await this.#manager();
    try {
      return await streams.add(config);
    } catch (error) {
      // Another process was quicker.
      const there = [nameInUse, subjectsOverlap].includes(codeOf(error)) ? await this.#find(topic) : undefined;
      if (there) return there;
      if (codeOf(error) !== nameInUse) throw error;
      const { name, subjects } = (await streams.info(config.name)).config;
      const remedy = `add the subject (nats stream edit ${name}), or choose another streamPrefix`;
      throw mismatch('nats-jetstream', `the stream ${name}`, 'subjects', config.subjects, subjects, remedy);
    }
  }

  /** The properties of a stream that were given, by their names at the server. */
  #wanted(): Partial<StreamConfig> {
    const { storage, replicas, maxLength, maxStreamBytes, maxAgeMs, duplicateWindowMs } = this.#settings;
    const all = {
      storage,
      num_replicas: replicas,
      max_msgs: maxLength,
      max_bytes: maxStreamBytes,
      max_age: nanos(maxAgeMs),
      duplicate_window: nanos(duplicateWindowMs),
    };
    return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
  }

  #check(there: StreamConfig): void {
    const wanted = { ...this.#wanted(), no_ack: false };
    for (const [property, value] of Object.entries(wanted)) {
      const has = there[property as keyof StreamConfig] ?? (property === 'no_ack' ? false : undefined);
      if (has === value) continue;
      const remedy = `change it (nats stream edit ${there.name}), or have the option say what is there`;
      throw mismatch('nats-jetstream', `the stream ${there.name}`, property, value, has, remedy);
    }
  }
}

/** Nanoseconds, in which the server counts. */
export function nanos(ms: number): number;
export function nanos(ms: number | undefined): number | undefined;
export function nanos(ms: number | undefined): number | undefined {
  return ms === undefined ? undefined : Math.round(ms * nanosPerMs);
}

/** Milliseconds of nanoseconds. */
export function millis(ns: number): number {
  return ns / nanosPerMs;
}

/** True for the error of a stream or a consumer that is not there. */
export function isNotFound(error: unknown): boolean {
  return /^(?:Stream|Consumer)NotFoundError$/.test((error as Partial<Error>).name ?? '');
}

/** True if this user has no right to a subject. A request has it as its cause. */
export function isForbidden(error: unknown): boolean {
  const { name, cause } = error as Partial<Error>;
  return [name, (cause as Partial<Error> | undefined)?.name].includes('PermissionViolationError');
}

async function ifFound<T>(asked: Promise<T>): Promise<T | undefined> {
  try {
    return await asked;
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}

function codeOf(error: unknown): number {
  return Number((error as { readonly code?: unknown }).code ?? 0);
}
