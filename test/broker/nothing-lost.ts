import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

import { expect, test } from '@jest/globals';

import type { Broker } from '../../src/broker/broker.ts';
import { startNode, type TestProcess } from '../support/process.ts';
import { type BackendServer, describeWithServer } from '../support/servers.ts';
import { eventually, settled } from '../support/waiting.ts';

const program = fileURLToPath(new URL('programs/worker.mjs', import.meta.url));
const members = 3;
const keys = 16;
/** Events of a run. The large run has a hundred thousand, three deaths of the server, and no pauses. */
const wanted = Number(process.env['TENON_TEST_EVENTS'] ?? 1_500);
const isLarge = wanted >= 10_000;
const poisonEvery = 100;

/** A persistent broker whose members and whose server are killed. */
export interface KilledBroker {
  readonly server: BackendServer;
  /** Its module below `tenon/broker`, and the name of its class. */
  readonly door: string;
  readonly name: string;
  /** Options of the broker of a member, by its number; 0 is that of the publisher. */
  readonly options: (member: number) => object;
  readonly make: (options: object) => Broker;
  /** True if events of one key are handled in the order of publishing. */
  readonly keepsOrder?: boolean;
  /** False if the server may lose what it has confirmed when it is killed. */
  readonly survivesServer?: boolean;
  /** Called before the server is killed. */
  readonly beforeServerKill?: (server: BackendServer) => Promise<void>;
  /** Most events that are handled again after a kill. */
  readonly duplicatesPerKill?: number;
}

/** Publishes events of several keys, those of a key one after another, each until the broker has confirmed it. */
class Publisher {
  readonly confirmed: string[] = [];
  repeated = 0;
  isStopped = false;
  readonly #broker: Broker;
  readonly #topic: string;

  constructor(broker: Broker, topic: string) {
    this.#broker = broker;
    this.#topic = topic;
  }

  get poison(): string[] {
    return this.confirmed.filter((text) => text.startsWith('poison'));
  }

  async run(): Promise<void> {
    await Promise.all(Array.from({ length: keys }, (_, key) => this.#publishAll(`key-${key}`)));
  }

  async #publishAll(orderKey: string): Promise<void> {
    for (let number = 1; !this.isStopped; number += 1) {
      const isPoison = (number + Number(orderKey.slice(4)) * 7) % poisonEvery === 0;
      const text = `${isPoison ? 'poison' : 'event'} ${orderKey} ${number}`;
      await this.#publish(text, orderKey);
      this.confirmed.push(text);
      if (!isLarge) await sleep(10);
    }
  }

  async #publish(text: string, orderKey: string): Promise<void> {
    for (;;) {
      try {
        await this.#broker.publish(this.#topic, { headers: {}, body: Buffer.from(text) }, { orderKey });
        return;
      } catch {
        this.repeated += 1;
        await sleep(50);
      }
    }
  }
}

/** The members of the queue, some of which have been killed. */
class Members {
  kills = 0;
  readonly #start: (member: number) => TestProcess;
  readonly #all: TestProcess[] = [];
  readonly #running: TestProcess[] = [];

  constructor(start: (member: number) => TestProcess) {
    this.#start = start;
  }

  /** What was handled, by whichever member, in order. */
  get handled(): readonly string[] {
    const lines = this.#all.flatMap((member) => member.lines).filter((line) => line.startsWith('handled '));
    const times = lines.map((line) => line.split(' ')).map(([, time = '0', ...text]) => [BigInt(time), text.join(' ')]);
    return (times as [bigint, string][]).sort(([a], [b]) => (a < b ? -1 : 1)).map(([, text]) => text);
  }

  get lines(): number {
    return this.#all.reduce((sum, { lines }) => sum + lines.length, 0);
  }

  async startAll(): Promise<void> {
    for (let member = 1; member <= members; member += 1) this.#add(member);
    await Promise.all(this.#running.map((member) => member.waitForLine(/^ready/, 120_000)));
  }

  async killNext(): Promise<void> {
    const index = this.kills % members;
    this.kills += 1;
    // One that is killed before it takes part proves nothing, and a busy machine starts it slowly.
    await this.#running[index]?.waitForLine(/^ready/, 120_000);
    await this.#running[index]?.kill('SIGKILL');
    this.#add(index + 1);
  }

  async end(): Promise<void> {
    await Promise.all(this.#running.map((member) => member.kill('SIGKILL')));
  }

  #add(member: number): void {
    const process = this.#start(member);
    this.#running[member - 1] = process;
    this.#all.push(process);
  }
}

/** Publishes, kills members and the server meanwhile, and returns what became of the events. */
async function run(killed: KilledBroker, topic: string, serverKills: number, settlesFirst: boolean) {
  const { server, door, name, options, make } = killed;
  const address = server.address;
  const broker = make({ address, ...options(0) });
  await broker.connect();
  const dead: string[] = [];
  await broker.subscribe(
    `${topic}.dead-letter`,
    (event) => (dead.push(Buffer.from(event.body).toString()), event.ack()),
    {
      queue: 'graves',
    },
  );
  const workers = new Members((member) => {
    const told = { door, name, options: { address, ...options(member) }, topic, settlesFirst };
    return startNode(program, { args: [JSON.stringify(told)] });
  });
  await workers.startAll();
  const publisher = new Publisher(broker, topic);
  const published = publisher.run();
  let deaths = 0;
  const isEnough = (): boolean =>
    publisher.confirmed.length >= wanted && workers.kills >= members && deaths >= serverKills;
  while (!isEnough()) {
    await sleep(1_000);
    await workers.killNext();
    if (deaths < serverKills && publisher.confirmed.length >= (wanted * (deaths + 1)) / (serverKills + 1)) {
      await killed.beforeServerKill?.(server);
      await server.kill();
      await server.start();
      deaths += 1;
    }
  }
  publisher.isStopped = true;
  await published;
  const finish = async (): Promise<void> => {
    await workers.end();
    await broker.disconnect();
  };
  return { workers, publisher, dead, deaths, finish };
}

/** The suite of a persistent broker: nothing that was confirmed is lost, whoever is killed. */
export function describeNothingLost(killed: KilledBroker): void {
  const { server, door, keepsOrder = false, survivesServer = true, duplicatesPerKill = 300 } = killed;
  describeWithServer(`events of ${door}, while members are killed`, server, () => {
    test('nothing that was confirmed is lost, and poison takes no neighbour with it', async () => {
      const serverKills = survivesServer ? (isLarge ? 3 : 1) : 0;
      const { workers, publisher, dead, deaths, finish } = await run(killed, 'kept', serverKills, false);
      const { confirmed, poison, repeated } = publisher;
      const good = confirmed.filter((text) => !text.startsWith('poison'));
      // Counting lines is cheap; what they say is looked at when nothing comes any more.
      await eventually(
        'every event',
        async () => {
          await settled(() => workers.lines, 500);
          const handled = new Set(workers.handled);
          return good.every((text) => handled.has(text));
        },
        200_000,
      ).catch(() => undefined);
      await eventually(
        'every poisonous event in the topic of dead letters',
        () => new Set(dead).size >= poison.length,
        60_000,
      ).catch(() => undefined);
      const handled = workers.handled;
      const distinct = new Set(handled);
      await finish();
      expect(good.filter((text) => !distinct.has(text))).toEqual([]);
      expect([...new Set(dead)].toSorted()).toEqual(poison.toSorted());
      expect(handled.filter((text) => text.startsWith('poison'))).toEqual([]);
      const duplicates = handled.length - distinct.size;
      expect(duplicates).toBeLessThanOrEqual((workers.kills + members * deaths) * duplicatesPerKill + repeated);
      if (keepsOrder) for (let key = 0; key < keys; key += 1) expect(disorder(`key-${key} `, distinct)).toEqual([]);
      process.stderr.write(
        `${door}: ${confirmed.length} events, ${workers.kills} members and ${deaths} times the server killed, ` +
          `${duplicates} handled again, ${poison.length} dead letters (${dead.length - poison.length} of them again), ` +
          `${repeated} publishes repeated\n`,
      );
    }, 1_200_000);

    test('an acknowledgement before the handler does lose events: this suite would notice', async () => {
      const { workers, publisher, finish } = await run(killed, 'careless', 0, true);
      await settled(() => workers.lines, 3_000);
      const handled = new Set(workers.handled);
      await finish();
      const lost = publisher.confirmed.filter((text) => text.startsWith('event') && !handled.has(text));
      expect(lost.length).toBeGreaterThan(0);
    }, 600_000);
  });
}

/** The events of a key that were handled, for the first time, after a later one. */
function disorder(key: string, handled: Iterable<string>): string[] {
  let last = 0;
  const late: string[] = [];
  for (const text of handled) {
    if (!text.startsWith(`event ${key}`)) continue;
    const number = Number(text.split(' ').at(-1));
    if (number < last) late.push(text);
    last = Math.max(last, number);
  }
  return late;
}
