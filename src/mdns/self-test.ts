import type { RemoteInfo } from 'node:dgram';

import type { Packet } from 'dns-packet';

import type { Timer, Timers } from '../runtime/runtime.ts';
import { isLoopback } from './links.ts';
import { nameQuestion } from './records.ts';
import type { MdnsSockets } from './sockets.ts';

/** The parts of a {@link SelfTest}. */
export interface SelfTestOptions {
  readonly timers: Timers;
  readonly sockets: Pick<MdnsSockets, 'linkOf' | 'links' | 'query'>;
  /** Called once if no interface works that leads to other machines; without such ones, if none works. */
  onSilence(addresses: readonly string[]): void;
}

// The question is repeated, as datagrams get lost.
const askAtMs = [0, 250, 600] as const;
const waitMs = 1_000;

/**
 * Asks for a node of this process, once: the question and its answer take the way of all others. Where multicast does
 * not work nothing else tells, as services are only not found.
 */
export class SelfTest {
  readonly #options: SelfTestOptions;
  readonly #answered = new Set<string>();
  #instance: string | undefined;
  #timers: readonly Timer[] = [];

  constructor(options: SelfTestOptions) {
    this.#options = options;
  }

  /** Starts the test with the first node that is announced. */
  start(instance: string): void {
    if (this.#instance !== undefined) return;
    this.#instance = instance.toLowerCase();
    const { timers } = this.#options;
    const ask = (): void => {
      void this.#options.sockets.query({ questions: [nameQuestion(instance)] }).catch(() => {});
    };
    this.#timers = [...askAtMs.map((atMs) => timers.after(atMs, ask)), timers.after(waitMs, () => this.#end())];
  }

  /** Looks for the answer. */
  onResponse({ answers = [], questions = [] }: Packet, from: RemoteInfo): void {
    if (this.#timers.length === 0 || questions.length === 0) return;
    const link = this.#options.sockets.linkOf(from.address);
    if (link && answers.some(({ name }) => name.toLowerCase() === this.#instance)) this.#answered.add(link.address);
  }

  close(): void {
    for (const timer of this.#timers) timer.cancel();
    this.#timers = [];
  }

  #end(): void {
    this.close();
    const all = this.#options.sockets.links().map(({ address }) => address);
    const leadingAway = all.filter((address) => !isLoopback(address));
    const needed = leadingAway.length > 0 ? leadingAway : all;
    if (!needed.some((address) => this.#answered.has(address))) this.#options.onSilence(needed);
  }
}
