import type { Broker, Event } from '../broker/broker.ts';
import type { LogFields, Logger } from '../logger/logger.ts';
import type { RegistryEvent, Watcher } from '../registry/registry.ts';

/** A log line that a {@link RecordingLogger} recorded. */
export interface LogLine {
  readonly level: 'debug' | 'info' | 'warn' | 'error';
  readonly message: string;
  readonly fields: LogFields;
}

/** A logger that records all lines, those of its children too. */
export class RecordingLogger implements Logger {
  readonly lines: LogLine[] = [];

  /** Every line as `level message`. */
  get texts(): string[] {
    return this.lines.map(({ level, message }) => `${level} ${message}`);
  }

  debug = (message: string, fields: LogFields = {}): void => this.#keep('debug', message, fields);
  info = (message: string, fields: LogFields = {}): void => this.#keep('info', message, fields);
  warn = (message: string, fields: LogFields = {}): void => this.#keep('warn', message, fields);
  error = (message: string, fields: LogFields = {}): void => this.#keep('error', message, fields);
  child = (): Logger => this;

  #keep(level: LogLine['level'], message: string, fields: LogFields): void {
    this.lines.push({ level, message, fields });
  }
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** The body of an event as text. */
export function textOf(event: { readonly body: Uint8Array }): string {
  return decoder.decode(event.body);
}

/** Publishes text. */
export function publishText(
  broker: Broker,
  topic: string,
  text: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<void> {
  return broker.publish(topic, { headers: { ...headers }, body: encoder.encode(text) });
}

/** Records the events of a subscription and acknowledges each: `broker.subscribe(topic, recorder.receive)`. */
export class EventRecorder {
  /** The events, in the order in which they came. */
  readonly events: Event[] = [];
  /** The bodies of the events, as text. */
  readonly texts: string[] = [];

  readonly receive = (event: Event): Promise<void> => {
    this.events.push(event);
    this.texts.push(textOf(event));
    return event.ack();
  };
}

/** Records the events of a registry watcher. */
export class WatchRecorder {
  readonly events: RegistryEvent[] = [];
  /** Resolves when the watcher ends, with its error if it failed. Never rejects. */
  readonly ended: Promise<unknown>;

  constructor(watcher: Watcher) {
    this.ended = (async () => {
      for await (const event of watcher) this.events.push(event);
      return undefined;
    })().catch((error: unknown) => error);
  }

  /** The events as `create n1 n2`: the action, and the ids of the nodes. */
  get texts(): string[] {
    return this.events.map(({ action, service }) => `${action} ${service.nodes.map(({ id }) => id).join(' ')}`);
  }
}

/** Collects all values of an iteration until it ends. */
export async function collect<T>(values: AsyncIterable<T>): Promise<T[]> {
  const collected: T[] = [];
  for await (const value of values) collected.push(value);
  return collected;
}
