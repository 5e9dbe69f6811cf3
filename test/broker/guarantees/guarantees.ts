import { setTimeout as sleep } from 'node:timers/promises';

import { afterAll, beforeAll, expect, test } from '@jest/globals';

import type { Broker, Event } from '../../../src/broker/broker.ts';
import { TenonError } from '../../../src/errors/errors.ts';
import { systemClock } from '../../../src/runtime/system.ts';
import { publishText, textOf } from '../../../src/testing/recorders.ts';
import { closing } from '../../support/closing.ts';
import { type BackendServer, describeWithServer } from '../../support/servers.ts';
import { type ToxicProxy, Toxiproxy } from '../../support/toxiproxy.ts';
import { expectNothingUncaught } from '../../support/uncaught.ts';
import { eventually, settled } from '../../support/waiting.ts';
import { comparePage, page } from './page.ts';

const patienceMs = 120_000;
/** Events that are published at the same time, each of them until it was confirmed or refused. */
const lanes = 4;
const pauseMs = 20;

/**
 * What a receiver may miss of the confirmed events: `some`, of which this run must see at least one, and `may`, which
 * depends on the moment; each with what it is.
 */
export type Loss = 'none' | readonly [kind: 'some' | 'may', what: string];

/** The declared outcome of one fault. */
export interface Cell {
  /** Of a subscriber that is there all the time. */
  readonly here: Loss;
  /**
   * Of a group that has subscribed before, whose members come back after the fault.
   * @default the broker stores no events
   */
  readonly away?: Loss;
  /** Most events that are handled again. @default 300 */
  readonly mostAgain?: number;
}

/** A name of a fault. */
export type FaultName = 'subscriberCut' | 'publisherCut' | 'pause' | 'kill' | 'erase';

/** The declared outcomes of a setting; faults that are left out are not run. */
export type Cells = Readonly<Partial<Record<FaultName, Cell>>>;

/** A broker with the settings of itself and of its server, on which a guarantee depends. */
export interface BrokerSetting {
  /** The heading of its section in the page: the broker, a comma, and how it is set. */
  readonly heading: string;
  readonly server: BackendServer;
  readonly make: (options: { readonly address: string; readonly clientId: string }) => Broker;
  readonly cells: Cells;
  /**
   * The address for connections that are not cut.
   * @default that of the server
   */
  readonly direct?: () => string;
  /** Prepares the server, to which some connections go by the proxy. */
  readonly prepare?: (proxy: ToxicProxy) => Promise<void>;
  /** Runs before each fault, when events flow. */
  readonly beforeFault?: () => Promise<void>;
}

/** What became of the events of a run. */
export interface Outcome {
  readonly confirmed: number;
  readonly lostHere: readonly string[];
  readonly lostAway: readonly string[];
  readonly again: number;
  /** Events whose publishing failed, and how many of them were delivered all the same. */
  readonly failed: number;
  readonly deliveredOfFailed: number;
  /** The longest time between two events at the subscriber that is there. */
  readonly gapMs: number;
}

interface Fault {
  readonly key: FaultName;
  readonly name: string;
  /** Those whose connections go by the proxy. */
  readonly cuts?: 'subscriber' | 'publisher';
  run(server: BackendServer, proxy: ToxicProxy): Promise<void>;
}

const cut = async (_server: BackendServer, proxy: ToxicProxy): Promise<void> => {
  await proxy.cut();
  await sleep(2_000);
  await proxy.heal();
};

const faults: readonly Fault[] = [
  {
    key: 'subscriberCut',
    name: 'the connections of the subscriber are cut for 2 s',
    cuts: 'subscriber',
    run: cut,
  },
  {
    key: 'publisherCut',
    name: 'the connections of the publisher are cut for 2 s',
    cuts: 'publisher',
    run: cut,
  },
  {
    key: 'pause',
    name: 'the server hangs for 30 s (SIGSTOP)',
    run: async (server) => {
      server.pause();
      try {
        await sleep(30_000);
      } finally {
        server.resume();
      }
    },
  },
  {
    key: 'kill',
    name: 'the server is killed (SIGKILL), and comes back',
    run: async (server) => {
      await server.kill();
      await sleep(500);
      await server.start();
    },
  },
  {
    key: 'erase',
    name: 'the server is killed, and comes back without its data',
    run: async (server) => {
      await server.kill();
      server.erase();
      await sleep(500);
      await server.start();
    },
  },
];

/** The least time for which each fault lets nothing through: less would mean that there was none. */
const leastGapMs = 400;

const nothingLost: Cell = { here: 'none', away: 'none' };

/** A server that comes back without its data. */
export const erased: Cell = {
  here: ['may', 'what was not handled yet'],
  away: ['some', 'what had waited'],
};

/** A broker that stores events, on a server that keeps what it has confirmed. */
export const durable: Cells = {
  subscriberCut: nothingLost,
  publisherCut: nothingLost,
  pause: nothingLost,
  kill: nothingLost,
  erase: erased,
};

const once = { mostAgain: 0 } as const;
const passed: Cell = { here: ['may', 'what passed before it had subscribed again'], ...once };

/** A broker that sends each event to the subscribers of the moment. */
export const atMostOnce: Cells = {
  subscriberCut: { here: ['some', 'what was published meanwhile'], ...once },
  publisherCut: { here: 'none', ...once },
  pause: passed,
  kill: passed,
  erase: passed,
};

/** Events begin with the stage at which they were published. */
const stages = { before: 0, during: 1, mended: 2, recovered: 3 } as const;

/** Publishes until it is stopped, and keeps what was confirmed. What failed is not published again. */
class Publishing {
  readonly confirmed: string[] = [];
  readonly failed: string[] = [];
  readonly reasons = new Set<string>();
  stage: number = stages.before;
  readonly #broker: Broker;
  readonly #topic: string;
  readonly #work: Promise<void>;
  #isStopped = false;

  constructor(broker: Broker, topic: string) {
    this.#broker = broker;
    this.#topic = topic;
    this.#work = Promise.all(Array.from({ length: lanes }, (_, lane) => this.#run(lane))).then(() => undefined);
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#work;
  }

  async #run(lane: number): Promise<void> {
    for (let number = 1; !this.#isStopped; number += 1) {
      const text = `${this.stage} ${lane} ${number}`;
      try {
        await publishText(this.#broker, this.#topic, text);
        this.confirmed.push(text);
      } catch (error) {
        this.failed.push(text);
        this.reasons.add(TenonError.from(error).reason ?? '');
        await sleep(4 * pauseMs);
      }
      await sleep(pauseMs);
    }
  }
}

/** Handles events, and keeps which. */
class Receiver {
  readonly handled = new Set<string>();
  deliveries = 0;
  /** The highest stage of an event. */
  stage: number = stages.before;
  /** True when it has an event that was published after all the others. */
  isAtEnd = false;
  longestGapMs = 0;
  #lastMs: number | undefined;

  get again(): number {
    return this.deliveries - this.handled.size;
  }

  readonly receive = (event: Event): Promise<void> => {
    const text = textOf(event);
    const nowMs = systemClock.monotonicMs();
    this.longestGapMs = Math.max(this.longestGapMs, nowMs - (this.#lastMs ?? nowMs));
    this.#lastMs = nowMs;
    this.deliveries += 1;
    this.handled.add(text);
    if (text.startsWith('end ')) this.isAtEnd = true;
    else this.stage = Math.max(this.stage, Number(text.split(' ')[0]));
    return event.ack();
  };
}

/** Publishes confirmed events, brings the fault on, and counts what became of them. */
async function run(setting: BrokerSetting, fault: Fault, cell: Cell, proxy: ToxicProxy): Promise<Outcome> {
  const { server, make, direct = () => server.address, beforeFault } = setting;
  const topic = `guarantees-${fault.key}`;
  const open = async (clientId: 'publisher' | 'here' | 'away'): Promise<Broker> => {
    const side = clientId === 'publisher' ? 'publisher' : 'subscriber';
    const broker = make({ address: fault.cuts === side ? proxy.address : direct(), clientId });
    closing.push(() => broker.disconnect());
    await broker.connect();
    return broker;
  };
  const [here, away] = [new Receiver(), new Receiver()];
  const joinAway = async (): Promise<Broker> => {
    const member = await open('away');
    await member.subscribe(topic, away.receive, { queue: 'away' });
    return member;
  };
  if (cell.away !== undefined) await (await joinAway()).disconnect();
  const member = await open('here');
  expect(member.capabilities?.persistent).toBe(cell.away !== undefined);
  await member.subscribe(topic, here.receive, { queue: member.capabilities?.groups === true ? 'here' : undefined });
  const publisher = await open('publisher');
  const publishing = new Publishing(publisher, topic);
  try {
    await eventually('events are handled', () => here.deliveries >= 100, patienceMs);
    await beforeFault?.();
    publishing.stage = stages.during;
    await fault.run(server, proxy);
    publishing.stage = stages.mended;
    await eventually('events are handled again', () => here.stage >= stages.mended, patienceMs);
    publishing.stage = stages.recovered;
    const before = publishing.confirmed.length;
    await eventually('some more are confirmed', () => publishing.confirmed.length >= before + 50, patienceMs);
  } finally {
    await publishing.stop();
  }
  const { longestGapMs } = here;
  const { confirmed, failed, reasons } = publishing;
  const lostBy = ({ handled }: Receiver): string[] => confirmed.filter((text) => !handled.has(text));
  await arrived(here, cell.here, () => lostBy(here).length === 0);
  if (cell.away !== undefined) {
    await joinAway();
    await reachEnd(away, publisher, topic);
    await arrived(away, cell.away, () => lostBy(away).length === 0);
  }
  for (const reason of reasons) expect(reason).toMatch(/^broker\./);
  return {
    confirmed: confirmed.length,
    lostHere: lostBy(here),
    lostAway: cell.away === undefined ? [] : lostBy(away),
    again: here.again + away.again,
    failed: failed.length,
    deliveredOfFailed: failed.filter((text) => here.handled.has(text) || away.handled.has(text)).length,
    gapMs: longestGapMs,
  };
}

/** Resolves when the receiver has all events; or, if it may miss some, when no more come. */
async function arrived(receiver: Receiver, loss: Loss, isComplete: () => boolean): Promise<void> {
  if (loss === 'none') await eventually('every event', isComplete, patienceMs).catch(() => undefined);
  else await settled(() => receiver.deliveries, 2_000);
}

/** Publishes until the receiver has an event of these: what had waited for it has come before, or not at all. */
async function reachEnd(receiver: Receiver, publisher: Broker, topic: string): Promise<void> {
  for (let number = 1; !receiver.isAtEnd; number += 1) {
    if (number > 600) throw new Error('the members that were away get no events');
    await publishText(publisher, topic, `end ${number}`).catch(() => undefined);
    await sleep(100);
  }
}

/** Compares the outcome of a fault with what is declared. */
export function expectDeclared({ here, away, mostAgain = 300 }: Cell, outcome: Outcome): void {
  const { lostHere, lostAway, again } = outcome;
  for (const [loss, lost] of [
    [here, lostHere],
    [away ?? 'none', lostAway],
  ] as const) {
    if (loss === 'none') expect(lost).toEqual([]);
    else if (loss[0] === 'some') expect(lost.length).toBeGreaterThan(0);
  }
  // Whatever was lost in the fault: a subscriber that is back misses nothing.
  expect(lostHere.filter((text) => text.startsWith(`${stages.recovered} `))).toEqual([]);
  expect(again).toBeLessThanOrEqual(mostAgain);
}

/** The row of the page for the outcome of a fault. */
export function rowOf(name: string, { here, away }: Cell, outcome: Outcome): string {
  const { confirmed, lostHere, lostAway, again, failed, deliveredOfFailed, gapMs } = outcome;
  const lossOf = (loss: Loss, lost: readonly string[]): string =>
    loss === 'none' ? 'none' : `${lost.length} of ${confirmed}: ${loss[1]}`;
  const cells = [
    name,
    lossOf(here, lostHere),
    away === undefined ? 'nothing is stored' : lossOf(away, lostAway),
    String(again),
    `${failed}, of which ${deliveredOfFailed} came`,
    `${(gapMs / 1_000).toFixed(1)} s`,
  ];
  return `| ${cells.join(' | ')} |`;
}

/** The suite of a broker with a setting: under each fault it loses what is declared, which is what the page says. */
export function describeGuarantees(setting: BrokerSetting): void {
  const { heading, server, cells, prepare } = setting;
  describeWithServer(`guarantees of ${heading}`, server, () => {
    const toxiproxy = new Toxiproxy();
    let proxy: ToxicProxy;
    const rows: string[] = [];
    const declared = faults.flatMap((fault) => {
      const cell = cells[fault.key];
      return cell ? [[fault.name, fault, cell] as const] : [];
    });
    expectNothingUncaught();
    beforeAll(async () => {
      await toxiproxy.start();
      proxy = await toxiproxy.proxy(server.address);
      await prepare?.(proxy);
    }, 240_000);
    afterAll(() => toxiproxy.dispose());

    test.each(declared)(
      '%s: nothing is lost but what is declared',
      async (name, fault, cell) => {
        const outcome = await run(setting, fault, cell, proxy);
        expectDeclared(cell, outcome);
        expect(outcome.gapMs).toBeGreaterThan(leastGapMs);
        rows.push(rowOf(name, cell, outcome));
      },
      600_000,
    );

    test(`${page} says what was found`, () => {
      comparePage(heading, rows);
    });
  });
}
