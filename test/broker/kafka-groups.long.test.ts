import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

import { expect, test } from '@jest/globals';
import kafkajs from 'kafkajs';

import type { Event } from '../../src/broker/broker.ts';
import { Code } from '../../src/errors/errors.ts';
import { murmur2 } from '../../src/kafka/murmur2.ts';
import { failureOf } from '../../src/testing/failures.ts';
import { closing } from '../support/closing.ts';
import { startKafkaProgram } from '../support/kafka.ts';
import { BackendServer, describeWithServer } from '../support/servers.ts';
import {
  becomes,
  clientOf,
  committed,
  connected,
  createTopic,
  ends,
  partitionZero,
  patienceMs,
  withAdmin,
} from './kafka-support.ts';
import { collector, eventually, publishText, text } from './support.ts';

const program = fileURLToPath(new URL('programs/kafka-member.mjs', import.meta.url));
const limitMs = 180_000;

describeWithServer('KafkaBroker, and the members of its groups', new BackendServer('kafka'), (server) => {
  const startMember = (topic: string, options: object = {}) =>
    startKafkaProgram(program, { args: [JSON.stringify({ address: server.address, topic, ...options })] });
  /** The numbers of partitions that the members of a group have, when it is stable. */
  const sharesOf = (groupId: string): Promise<number[]> =>
    withAdmin(server, async (admin) => {
      const [group] = (await admin.describeGroups([groupId])).groups;
      if (group?.state !== 'Stable') return [];
      return group.members.map(({ memberAssignment }) => {
        const assigned = kafkajs.AssignerProtocol.MemberAssignment.decode(memberAssignment)?.assignment ?? {};
        return Object.values(assigned).flat().length;
      });
    });

  test(
    'a new group begins with what was published before, a subscriber without one with what comes',
    async () => {
      const { broker } = await connected(server);
      for (let index = 0; index < 10; index += 1) await publishText(broker, 'earliest', String(index));
      const [group, alone, late] = [collector(), collector(), collector()];
      await broker.subscribe('earliest', alone.receive);
      await broker.subscribe('earliest', group.receive, { queue: 'q' });
      const { broker: ofNow } = await connected(server, { from: 'now' });
      await ofNow.subscribe('earliest', late.receive, { queue: 'late' });
      await publishText(broker, 'earliest', 'next');
      await eventually('all', () => group.texts.length === 11 && alone.texts.length === 1, patienceMs);
      await eventually('the next', () => late.texts.length === 1, patienceMs);
      expect([alone.texts, late.texts]).toEqual([['next'], ['next']]);
      const seen: string[] = [];
      for await (const event of broker.watch('earliest', { from: 'start' })) {
        seen.push(text(event));
        if (seen.length === 11) break;
      }
      expect(seen.sort()).toEqual([...group.texts].sort());
    },
    limitMs,
  );

  test(
    'a group that began with what came then misses nothing while its members are away',
    async () => {
      const { broker } = await connected(server, { from: 'now' });
      await publishText(broker, 'away', 'before');
      const first = await broker.subscribe('away', () => undefined, { queue: 'q' });
      await first.unsubscribe();
      await publishText(broker, 'away', 'meanwhile');
      const back = collector();
      await broker.subscribe('away', back.receive, { queue: 'q' });
      await eventually('what came meanwhile', () => back.texts.length === 1, patienceMs);
      expect(back.texts).toEqual(['meanwhile']);
    },
    limitMs,
  );

  test(
    'commits the offset after the last event that is settled, and the one of the first that is not',
    async () => {
      const { broker } = await connected(server, { partitions: 1 });
      const held: Event[] = [];
      await broker.subscribe('prefix', (event) => void held.push(event), { queue: 'q' });
      for (const body of ['a', 'b', 'c', 'd']) await publishText(broker, 'prefix', body);
      await eventually('all', () => held.length === 4, patienceMs);
      await Promise.all([held[1]?.ack(), held[2]?.ack()]);
      expect(await partitionZero(server, 'prefix')).toBe(0);
      await held[0]?.ack();
      expect(await partitionZero(server, 'prefix')).toBe(3);
      await held[3]?.ack();
      expect(await partitionZero(server, 'prefix')).toBe(4);
    },
    limitMs,
  );

  test(
    'many acknowledgements at once are all committed',
    async () => {
      const { broker } = await connected(server, { partitions: 2 });
      const received = collector();
      await broker.subscribe('burst', received.receive, { queue: 'q' });
      const bodies = Array.from({ length: 3_000 }, (_, index) => String(index));
      await Promise.all(bodies.map((body) => publishText(broker, 'burst', body)));
      await eventually('all', () => received.texts.length >= 3_000, patienceMs);
      expect(new Set(received.texts).size).toBe(3_000);
      const end = await ends(server, 'burst');
      expect(end.size).toBe(2);
      await becomes('the committed offsets', async () => [...(await committed(server, 'burst'))], [...end]);
    },
    limitMs,
  );

  test(
    'a poison event goes to the dead letters after its attempts, and hurts no other',
    async () => {
      const { broker, member } = await connected(server, { partitions: 1 });
      const dead = collector();
      await broker.subscribe('poison.dead-letter', dead.receive, { queue: 'graves' });
      const attempts: string[] = [];
      await member('poison', async (event) => {
        attempts.push(`${text(event)} ${event.attempt}`);
        if (text(event) === 'poison') throw new Error('never');
      });
      for (const body of ['a', 'poison', 'b']) await publishText(broker, 'poison', body);
      await eventually('the dead letter', () => dead.texts.length === 1, patienceMs);
      expect(attempts.filter((one) => !one.startsWith('poison'))).toEqual(['a 1', 'b 1']);
      expect(attempts.filter((one) => one.startsWith('poison'))).toEqual([1, 2, 3, 4].map((one) => `poison ${one}`));
      expect(dead.events[0]?.headers).toMatchObject({ 'tenon-attempts': '4', 'tenon-original-topic': 'poison' });
      await becomes('it is committed', () => partitionZero(server, 'poison'), 3);
    },
    limitMs,
  );

  test(
    'a poison event holds back its own key until it is a dead letter, and no other key of its partition',
    async () => {
      const { broker, member } = await connected(server, { partitions: 1 });
      let fail = (): void => {};
      const held = new Promise<void>((resolve) => (fail = resolve));
      const begun: string[] = [];
      await member('poisoned-key', async (event) => {
        begun.push(text(event));
        if (text(event) !== 'poison') return;
        await held;
        throw new Error('never');
      });
      const events = [
        ['a', 'poison'],
        ['b', 'b1'],
        ['a', 'a2'],
        ['b', 'b2'],
      ] as const;
      for (const [orderKey, body] of events)
        await broker.publish('poisoned-key', { headers: {}, body: Buffer.from(body) }, { orderKey });
      await eventually('those of the other key', () => begun.includes('b2'), patienceMs);
      expect(begun).toEqual(['poison', 'b1', 'b2']);
      expect(await partitionZero(server, 'poisoned-key')).toBe(0);
      fail();
      await eventually('the next of its key', () => begun.includes('a2'), patienceMs);
      expect(begun.filter((body) => body === 'poison')).toHaveLength(4);
      await becomes('all is committed', () => partitionZero(server, 'poisoned-key'), 4);
    },
    limitMs,
  );

  test(
    'a handler that takes longer than the session keeps its membership, and gets its event once',
    async () => {
      const { broker, member, said } = await connected(server, { partitions: 1, sessionTimeoutMs: 6_000 });
      const [begun, done]: string[][] = [[], []];
      await member('long', async (event) => {
        begun?.push(text(event));
        await sleep(9_000);
        done?.push(text(event));
      });
      const other = await connected(server);
      await other.member('long', async (event) => void begun?.push(`other ${text(event)}`));
      await publishText(broker, 'long', 'x');
      await eventually('its end', () => done?.length === 1, patienceMs);
      await becomes('it is committed', () => partitionZero(server, 'long'), 1);
      expect([begun, said('warn')]).toEqual([['x'], []]);
    },
    limitMs,
  );

  test(
    'an attempt that killed its process is counted, and its neighbours are handled all the same',
    async () => {
      await createTopic(server, 'killer', 1);
      const { broker, member: receive } = await connected(server);
      const dead = collector();
      await broker.subscribe('killer.dead-letter', dead.receive, { queue: 'graves' });
      for (const body of ['n1', 'n2', 'kill', 'n3', 'n4']) await publishText(broker, 'killer', body);
      const begun: string[] = [];
      for (let death = 1; death <= 3; death += 1) {
        const member = startMember('killer', { maxMs: 500 });
        await member.waitForExit(patienceMs);
        begun.push(...member.lines.filter((line) => line.startsWith('begun kill')));
      }
      expect(begun).toEqual([1, 2, 3].map((attempt) => `begun kill at attempt ${attempt}`));
      const handled: [string, number][] = [];
      await receive('killer', async (event) => void handled.push([text(event), event.attempt]));
      await becomes('all is committed', () => partitionZero(server, 'killer'), 5);
      expect(handled).toContainEqual(['kill', 4]);
      // The others were in hand at two of the deaths at most.
      for (const [body, attempt] of handled) if (body !== 'kill') expect(attempt).toBeLessThanOrEqual(3);
      expect(dead.texts).toEqual([]);
    },
    limitMs,
  );

  test(
    'a member that joins an idle group gets its share of the partitions',
    async () => {
      await createTopic(server, 'idle', 4);
      const received = collector();
      for (const { broker } of [await connected(server), await connected(server)])
        await broker.subscribe('idle', received.receive, { queue: 'idle' });
      await becomes('partitions of each member', () => sharesOf('idle'), [2, 2]);
      const { broker } = await connected(server);
      const keys = Array.from({ length: 40 }, (_, index) => `key-${index}`);
      for (const orderKey of keys)
        await broker.publish('idle', { headers: {}, body: Buffer.from(orderKey) }, { orderKey });
      await eventually('all', () => received.texts.length === keys.length, patienceMs);
    },
    limitMs,
  );

  test(
    'a member that ends while a handler works leaves to others what it has not in hand, and the rest after it',
    async () => {
      await createTopic(server, 'ending', 4);
      const [{ broker }, { broker: other }] = [await connected(server), await connected(server)];
      const [held, received]: [Event[], ReturnType<typeof collector>] = [[], collector()];
      const ending = await broker.subscribe('ending', (event) => void held.push(event), { queue: 'ending' });
      await other.subscribe('ending', received.receive, { queue: 'ending' });
      await becomes('partitions of each member', () => sharesOf('ending'), [2, 2]);
      const publish = (orderKey: string): Promise<void> =>
        other.publish('ending', { headers: {}, body: Buffer.from(orderKey) }, { orderKey });
      let published = 0;
      for (; held.length === 0; published += 1) {
        await publish(`key-${published}`);
        await eventually('it came', () => held.length + received.texts.length > published, patienceMs);
      }
      const ended = ending.unsubscribe();
      await becomes(
        'what is not in hand goes',
        async () => (await sharesOf('ending')).toSorted((a, b) => a - b),
        [0, 3],
      );
      const keys = Array.from({ length: 40 }, (_, index) => `later-${index}`);
      for (const key of keys) await publish(key);
      await eventually('some of each partition', () => received.texts.length >= published + 10, patienceMs);
      await held[0]?.ack();
      await ended;
      await eventually('all', () => received.texts.length === published - 1 + keys.length, patienceMs);
      expect([held.length, new Set(received.texts).size]).toEqual([1, received.texts.length]);
    },
    limitMs,
  );

  test(
    'members of one queue on several topics begin one after another without a warning',
    async () => {
      const topics = ['one', 'two', 'three', 'four', 'five', 'six'];
      const received = collector();
      const brokers = [await connected(server, { partitions: 2 }), await connected(server, { partitions: 2 })];
      for (const { broker } of brokers)
        for (const topic of topics) await broker.subscribe(topic, received.receive, { queue: 'many' });
      const [{ broker }] = brokers as [(typeof brokers)[0]];
      await Promise.all(topics.map((topic) => publishText(broker, topic, topic)));
      await eventually('all', () => received.texts.length === topics.length, patienceMs);
      await becomes(
        'partitions of each member',
        () => sharesOf('many'),
        Array.from({ length: 12 }, () => 1),
      );
      expect(brokers.flatMap(({ said }) => said('warn'))).toEqual([]);
    },
    limitMs,
  );

  test('members that come and go under load: no event is lost, keys keep their order, no partition is left', async () => {
    const topic = 'churn';
    await createTopic(server, topic, 4);
    const { broker } = await connected(server);
    const members = [startMember(topic, { maxMs: 100 })];
    const all = [...members];
    let isOver = false;
    const sent = new Map<string, number>();
    const publishing = (async () => {
      for (let number = 0; !isOver; number += 1) {
        const key = `key-${number % 20}`;
        const body = number % 801 === 800 ? `slow 8000 ${key} ${number}` : `${key} ${number}`;
        await broker.publish(topic, { headers: {}, body: Buffer.from(body) }, { orderKey: key });
        sent.set(body, number);
        await sleep(5);
      }
    })();
    const partitionOf = (line: string): number[] => {
      const [, key] = /^handled .*(key-\d+) \d+$/.exec(line) ?? [];
      return key === undefined ? [] : [murmur2(Buffer.from(key)) % 4];
    };
    const handled = (): string[] => all.flatMap(({ lines }) => lines.filter((line) => line.startsWith('handled ')));
    for (let round = 0; round < 6; round += 1) {
      const before = new Map(all.map((member) => [member, member.lines.length]));
      if (round % 3 === 2) await members.shift()?.kill('SIGKILL');
      else if (round % 3 === 1) members.push(startMember(topic, { maxMs: 100 }));
      if (members.length === 0) members.push(startMember(topic, { maxMs: 100 }));
      all.push(...members.filter((member) => !all.includes(member)));
      await sleep(2_000);
      const since = (): string[] => all.flatMap((member) => member.lines.slice(before.get(member) ?? 0));
      const active = (): Set<number> => new Set(since().flatMap(partitionOf));
      await eventually('all partitions are at work', () => active().size === 4, patienceMs);
    }
    isOver = true;
    await publishing;
    const bodies = (): Set<string> => new Set(handled().map((line) => line.slice('handled '.length)));
    await eventually(`${sent.size} events`, () => bodies().size === sent.size, 120_000);
    // Each process writes in its own order, and hands its keys over when its events are settled.
    for (const { lines } of all) {
      const [lastOfKey, seen] = [new Map<string, number>(), new Set<string>()];
      for (const line of lines) {
        const [, key = '', number] = /^handled .*(key-\d+) (\d+)$/.exec(line) ?? [];
        // One that was taken for dead gets again what it had.
        if (number === undefined || seen.has(number)) continue;
        seen.add(number);
        expect(Number(number)).toBeGreaterThan(lastOfKey.get(key) ?? -1);
        lastOfKey.set(key, Number(number));
      }
    }
    const end = await ends(server, topic);
    expect(end.size).toBe(4);
    await becomes('all is committed', async () => [...(await committed(server, topic))], [...end]);
    const duplicates = handled().length - sent.size;
    expect(duplicates).toBeLessThan(sent.size / 2);
    for (const member of members) await member.kill('SIGKILL');
  }, 400_000);

  test(
    'a member that hangs loses its events to others, and what it settles later does not count',
    async () => {
      await createTopic(server, 'hangs', 1);
      const { broker } = await connected(server);
      const member = startMember('hangs');
      await member.waitForLine(/^ready/, patienceMs);
      await publishText(broker, 'hangs', 'slow 3000 x');
      await member.waitForLine(/^begun/, patienceMs);
      member.signal('SIGSTOP');
      const held: Event[] = [];
      await broker.subscribe('hangs', (event) => void held.push(event), { queue: 'q' });
      await eventually('the event', () => held.length === 1, patienceMs);
      expect(held[0]?.attempt).toBe(2);
      member.signal('SIGCONT');
      await member.waitForLine(/^handled/, patienceMs);
      await member.waitForLog(/a member of a group was taken for dead/, patienceMs);
      expect(await partitionZero(server, 'hangs')).toBe(0);
      await held[0]?.ack();
      expect(await partitionZero(server, 'hangs')).toBe(1);
      await member.kill('SIGKILL');
    },
    limitMs,
  );

  test(
    'a partition that goes to another member waits for its events in hand, up to the bound',
    async () => {
      await createTopic(server, 'revoked', 2);
      const { broker, said } = await connected(server, { revokeWaitMs: 3_000 });
      const held: Event[] = [];
      await broker.subscribe('revoked', (event) => void held.push(event), { queue: 'q' });
      for (let number = 0; number < 40; number += 1) await publishText(broker, 'revoked', String(number));
      await eventually('all in hand', () => held.length === 40, patienceMs);
      const other = await connected(server);
      const received = collector();
      await other.broker.subscribe('revoked', received.receive, { queue: 'q' });
      await eventually('those of the partition that was given up', () => received.texts.length > 0, patienceMs);
      const warning = 'a partition goes to another member while its events are in hand: they come again there';
      expect(said('warn')).toEqual([warning]);
      await eventually('all of them', () => received.events.every(({ attempt }) => attempt === 2), patienceMs);
      const before = await committed(server, 'revoked');
      await Promise.all(held.map((event) => event.ack()));
      await becomes('all is committed', async () => [...(await committed(server, 'revoked'))], [
        ...(await ends(server, 'revoked')),
      ]);
      expect([...before.values()].filter((offset) => offset <= 0)).toHaveLength(1);
    },
    limitMs,
  );

  test(
    'a group that has members of a program that assigns in another way is refused once',
    async () => {
      await createTopic(server, 'mixed', 1);
      const consumer = clientOf(server).consumer({ groupId: 'mixed' });
      await consumer.connect();
      closing.push(() => consumer.disconnect());
      await consumer.subscribe({ topic: 'mixed' });
      const joined = new Promise((resolve) => consumer.on('consumer.group_join', resolve));
      await consumer.run({ eachMessage: async () => undefined });
      await joined;
      const { broker } = await connected(server);
      const error = await failureOf(broker.subscribe('mixed', () => undefined, { queue: 'mixed' }));
      expect(error).toMatchObject({ code: Code.FailedPrecondition, reason: 'broker.refused' });
      expect(error.message).toContain('give the queue another name');
    },
    limitMs,
  );
});
