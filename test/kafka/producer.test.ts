import { describe, expect, test } from '@jest/globals';

import { faults, KafkaFault, type PartitionLeaders, type ProduceRequest } from '../../src/kafka/kafka.ts';
import { KafkaProducer } from '../../src/kafka/producer.ts';
import { systemRuntime } from '../../src/runtime/system.ts';
import { fakeCluster } from './fake.ts';

type Answer = (request: ProduceRequest) => Promise<void> | void;

/** A producer, and the batches that its server gets. Each is answered by the next of `answers`, if there is one. */
function produced(answers: Answer[] = [], partitions = 1) {
  const batches: string[] = [];
  const requests: ProduceRequest[] = [];
  let ids = 0;
  const cluster = fakeCluster(() => ({
    producerId: async () => ({ id: BigInt((ids += 1)), epoch: 0 }),
    produce: async (request) => {
      requests.push(request);
      const values = request.records.map(({ value }) => value.toString()).join('+');
      batches.push(`${values} to ${request.partition} as ${request.sequence} of ${request.producer.id}`);
      await answers.shift()?.(request);
    },
  }));
  const leaders = async (): Promise<PartitionLeaders> =>
    new Map(Array.from({ length: partitions }, (_, partition) => [partition, { host: 'one', port: 1 }]));
  const producer = new KafkaProducer({ cluster, runtime: systemRuntime, timeoutMs: 1_000, leaders });
  const add = (value: string, key?: string) =>
    producer.add(
      't',
      { key: key === undefined ? undefined : Buffer.from(key), value: Buffer.from(value), headers: {} },
      0,
    );
  return { batches, requests, add };
}
const refuse =
  (code: number): Answer =>
  () => {
    throw new KafkaFault(code, `refused with ${code}`);
  };

describe('KafkaProducer', () => {
  test('writes what is added in one turn together, and what is added meanwhile with the next batch', async () => {
    let release = (): void => {};
    const held = new Promise<void>((resolve) => (release = resolve));
    const { batches, add } = produced([() => held]);
    const first = [add('a'), add('b'), add('c')];
    await new Promise((resolve) => setTimeout(resolve, 20));
    const more = [add('d'), add('e')];
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(batches).toEqual(['a+b+c to 0 as 0 of 1']);
    release();
    await Promise.all([...first, ...more].map(({ written }) => written));
    expect(batches).toEqual(['a+b+c to 0 as 0 of 1', 'd+e to 0 as 3 of 1']);
  });

  test('sends a batch that was refused for the moment again, with its number', async () => {
    const { batches, add } = produced([refuse(faults.notLeader), refuse(faults.notEnoughReplicas)]);
    await add('a').written;
    await add('b').written;
    expect(batches).toEqual(['a to 0 as 0 of 1', 'a to 0 as 0 of 1', 'a to 0 as 0 of 1', 'b to 0 as 1 of 1']);
  });

  test('takes a batch that is there already for written, and goes on with the next number', async () => {
    const { batches, add } = produced([refuse(faults.requestTimedOut), refuse(faults.duplicateSequence)]);
    await add('a').written;
    await add('b').written;
    expect(batches).toEqual(['a to 0 as 0 of 1', 'a to 0 as 0 of 1', 'b to 0 as 1 of 1']);
  });

  test('takes another id when the servers do not know the one it has', async () => {
    const { batches, add } = produced([() => undefined, refuse(faults.unknownProducer)]);
    await add('a').written;
    await add('b').written;
    expect(batches).toEqual(['a to 0 as 0 of 1', 'b to 0 as 1 of 1', 'b to 0 as 0 of 2']);
  });

  test('sends no batch twice whose fate is not known, and takes another id for the next one', async () => {
    const { batches, add } = produced([
      () => {
        throw new Error('reset');
      },
    ]);
    await expect(add('a').written).rejects.toThrow('reset');
    await add('b').written;
    expect(batches).toEqual(['a to 0 as 0 of 1', 'b to 0 as 0 of 2']);
  });

  test('goes on with its numbers after a batch that was refused for good', async () => {
    const { batches, add } = produced([() => undefined, refuse(faults.topicDenied)]);
    await add('a').written;
    await expect(add('b').written).rejects.toThrow('refused with 29');
    await add('c').written;
    expect(batches.at(-1)).toBe('c to 0 as 1 of 1');
  });

  test('takes another id after a refusal of which it is not known whether anything was written', async () => {
    const { batches, add } = produced([() => undefined, refuse(-1)]);
    await add('a').written;
    await expect(add('b').written).rejects.toThrow('refused with -1');
    await add('c').written;
    expect(batches.at(-1)).toBe('c to 0 as 0 of 2');
  });

  test('waits for the leader of a partition that has none, and writes to the others meanwhile', async () => {
    const at = { host: 'one', port: 1 };
    const written: number[] = [];
    let asked = 0;
    const cluster = fakeCluster(() => ({
      producerId: async () => ({ id: 1n, epoch: 0 }),
      produce: async ({ partition }) => void written.push(partition),
    }));
    const leaders = async (): Promise<PartitionLeaders> => {
      asked += 1;
      return new Map([
        [0, at],
        [1, asked < 4 ? undefined : at],
      ]);
    };
    const producer = new KafkaProducer({ cluster, runtime: systemRuntime, timeoutMs: 5_000, leaders });
    const record = { key: undefined, value: Buffer.from('x'), headers: {} };
    await Promise.all([0.9, 0].map((share) => producer.add('t', record, share).written));
    expect(written).toEqual([0, 1]);
  });

  test('divides a batch that is too large, and rejects what is too large by itself', async () => {
    const tooLarge: Answer = ({ records }) => {
      if (records.some(({ value }) => value.toString() === 'big') || records.length > 2)
        throw new KafkaFault(faults.messageTooLarge, 'too large');
    };
    const { requests, add } = produced(Array.from({ length: 20 }, () => tooLarge));
    const all = ['a', 'b', 'big', 'c', 'd'].map((value) => add(value).written);
    const results = await Promise.allSettled(all);
    expect(results.map(({ status }) => status)).toEqual([
      'fulfilled',
      'fulfilled',
      'rejected',
      'fulfilled',
      'fulfilled',
    ]);
    const accepted = requests.filter(
      ({ records }) => records.length <= 2 && !records.some(({ value }) => value.toString() === 'big'),
    );
    expect(accepted.flatMap(({ records }) => records.map(({ value }) => value.toString()))).toEqual([
      'a',
      'b',
      'c',
      'd',
    ]);
  });

  test('takes back what waits, and not what was sent', async () => {
    let release = (): void => {};
    const held = new Promise<void>((resolve) => (release = resolve));
    const { batches, add } = produced([() => held]);
    const sent = add('sent');
    await new Promise((resolve) => setTimeout(resolve, 20));
    const [waits, stays] = [add('waits'), add('stays')];
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect([sent.withdraw(), waits.withdraw(), waits.withdraw()]).toEqual([false, true, false]);
    release();
    await Promise.all([sent.written, stays.written]);
    expect(batches).toEqual(['sent to 0 as 0 of 1', 'stays to 0 as 1 of 1']);
  });

  test('gives records of one key one partition, and numbers each partition', async () => {
    const { requests, add } = produced([], 8);
    const keys = Array.from({ length: 40 }, (_, index) => `key-${index % 10}`);
    for (const key of keys) await add(key, key).written;
    const partitionsOf = new Map<string, Set<number>>();
    for (const { partition, records } of requests)
      for (const { value } of records)
        partitionsOf.set(value.toString(), (partitionsOf.get(value.toString()) ?? new Set()).add(partition));
    expect([...partitionsOf.values()].every(({ size }) => size === 1)).toBe(true);
    expect(new Set([...partitionsOf.values()].flatMap((one) => [...one])).size).toBeGreaterThan(2);
    const next = new Map<number, number>();
    for (const { partition, sequence, records } of requests) {
      expect(sequence).toBe(next.get(partition) ?? 0);
      next.set(partition, sequence + records.length);
    }
  });
});
