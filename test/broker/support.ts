import { setTimeout as sleep } from 'node:timers/promises';

import type { Broker, Event } from '../../src/broker/broker.ts';
import type { LogFields, Logger } from '../../src/logger/logger.ts';
import type { Runtime, Timer, Timers } from '../../src/runtime/runtime.ts';

/** Timers that stand still until they are advanced. */
export class VirtualTimers implements Timers {
  nowMs = 0;
  #pending: { readonly at: number; readonly run: () => void }[] = [];

  after(delayMs: number, callback: () => void): Timer {
    const entry = { at: this.nowMs + delayMs, run: callback };
    this.#pending.push(entry);
    return { cancel: () => void (this.#pending = this.#pending.filter((one) => one !== entry)) };
  }

  every(periodMs: number, callback: () => void): Timer {
    let timer: Timer = { cancel: () => {} };
    const arm = (): void => {
      timer = this.after(periodMs, () => {
        arm();
        callback();
      });
    };
    arm();
    return { cancel: () => timer.cancel() };
  }

  soon(callback: () => void): void {
    setImmediate(callback);
  }

  sleep(delayMs: number): Promise<void> {
    return new Promise((resolve) => this.after(delayMs, resolve));
  }

  /** Lets everything happen that needs no time. */
  async settle(): Promise<void> {
    for (let turn = 0; turn < 10; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  }

  /** Lets `byMs` pass: what is due runs in order, and what comes of it. */
  async advance(byMs: number): Promise<void> {
    const until = this.nowMs + byMs;
    await this.settle();
    for (;;) {
      const due = this.#pending.filter(({ at }) => at <= until).sort((a, b) => a.at - b.at)[0];
      if (!due) break;
      this.nowMs = due.at;
      this.#pending = this.#pending.filter((one) => one !== due);
      due.run();
      await this.settle();
    }
    this.nowMs = until;
  }
}

/** A runtime whose time stands still, without chance: delays are what they are before jitter. */
export function virtualRuntime(): Runtime & { readonly timers: VirtualTimers } {
  const timers = new VirtualTimers();
  return {
    timers,
    clock: { now: () => timers.nowMs, monotonicMs: () => timers.nowMs },
    random: { next: () => 0.5, uuid: () => '00000000-0000-4000-8000-000000000000' },
  };
}

/** Keeps what is logged. */
export class RecordingLogger implements Logger {
  readonly lines: { readonly level: string; readonly message: string; readonly fields: LogFields }[] = [];
  debug = (message: string, fields: LogFields = {}): void => this.#keep('debug', message, fields);
  info = (message: string, fields: LogFields = {}): void => this.#keep('info', message, fields);
  warn = (message: string, fields: LogFields = {}): void => this.#keep('warn', message, fields);
  error = (message: string, fields: LogFields = {}): void => this.#keep('error', message, fields);
  child = (): Logger => this;

  #keep(level: string, message: string, fields: LogFields): void {
    this.lines.push({ level, message, fields });
  }
}

export const text = (event: { readonly body: Uint8Array }): string => Buffer.from(event.body).toString();

export const publishText = (
  broker: Broker,
  topic: string,
  body: string,
  headers: Record<string, string> = {},
): Promise<void> => broker.publish(topic, { headers, body: Buffer.from(body) });

/** Resolves when `condition` holds; rejects when it does not for a long time. */
export async function until(what: string, condition: () => boolean, limitMs = 15_000): Promise<void> {
  for (let waitedMs = 0; !condition(); waitedMs += 10) {
    if (waitedMs > limitMs) throw new Error(`not within ${limitMs} ms: ${what}`);
    await sleep(10);
  }
}

/** Publishes until the broker takes it; what it says in the meantime. */
export async function publishAtLast(broker: Broker, topic: string, body: string): Promise<unknown[]> {
  const errors: unknown[] = [];
  for (;;) {
    try {
      await publishText(broker, topic, body);
      return errors;
    } catch (error) {
      errors.push(error);
      if (errors.length > 1_000) throw error;
      await sleep(10);
    }
  }
}

/** A callback that keeps what comes, and acknowledges it. */
export function collector(): {
  readonly texts: string[];
  readonly events: Event[];
  receive(event: Event): Promise<void>;
} {
  const events: Event[] = [];
  const texts: string[] = [];
  return {
    events,
    texts,
    receive(event) {
      events.push(event);
      texts.push(text(event));
      return event.ack();
    },
  };
}
