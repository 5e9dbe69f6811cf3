import { describe, expect, test } from '@jest/globals';

import { KafkaTimeoutError } from '../../src/kafka/cluster.ts';
import { faults, KafkaFault } from '../../src/kafka/kafka.ts';
import { fakeCluster } from './fake.ts';

const [one, two] = [
  { host: 'one', port: 1 },
  { host: 'two', port: 2 },
];

describe('KafkaCluster', () => {
  test('goes to the next server when one cannot be connected to, and stays there', async () => {
    const asked: string[] = [];
    const cluster = fakeCluster(
      ({ host }) => {
        asked.push(host);
        if (host === 'one') throw new Error('refused');
        return { ping: async () => undefined };
      },
      { addresses: [one, two] },
    );
    await cluster.call((connection) => connection.ping());
    await cluster.call((connection) => connection.ping());
    expect(asked).toEqual(['one', 'two']);
  });

  test('rejects with the last error if no server can be connected to', async () => {
    const cluster = fakeCluster(
      ({ host }) => {
        throw new Error(`${host} refuses`);
      },
      { addresses: [one, two] },
    );
    await expect(cluster.call((connection) => connection.ping())).rejects.toThrow('two refuses');
  });

  test('keeps a connection whose server refuses a call, and leaves one that fails', async () => {
    const closed: number[] = [];
    let connections = 0;
    const answers: (() => Promise<void>)[] = [];
    const cluster = fakeCluster(() => {
      const number = (connections += 1);
      return { ping: () => answers.shift()?.() ?? Promise.resolve(), close: () => void closed.push(number) };
    });
    const call = (): Promise<void> => cluster.call((connection) => connection.ping());
    answers.push(() => Promise.reject(new KafkaFault(faults.topicDenied, 'no')));
    await expect(call()).rejects.toThrow('no');
    answers.push(() => Promise.reject(new Error('reset')));
    await expect(call()).rejects.toThrow('reset');
    expect([connections, closed]).toEqual([1, [1]]);
    await call();
    expect(connections).toBe(2);
  });

  test('leaves a connection whose server does not answer in time', async () => {
    let connections = 0;
    const cluster = fakeCluster(
      () => ({ ping: () => ((connections += 1) === 1 ? new Promise(() => {}) : Promise.resolve()) }),
      {
        timeoutMs: 30,
      },
    );
    await expect(cluster.call((connection) => connection.ping())).rejects.toThrow(KafkaTimeoutError);
    await cluster.call((connection) => connection.ping());
    expect(connections).toBe(2);
  });

  test('gives a call that waits at the server the time that it waits', async () => {
    const slow = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 60));
    const cluster = fakeCluster(() => ({ ping: slow }), { timeoutMs: 30 });
    await cluster.call((connection) => connection.ping(), { waitMs: 5_000 });
  });

  test('connects again when the server has closed its connection meanwhile', async () => {
    let connections = 0;
    const cluster = fakeCluster(() => {
      const number = (connections += 1);
      return { isOpen: number > 1, ping: async () => undefined };
    });
    await cluster.call((connection) => connection.ping());
    expect(connections).toBe(2);
  });

  test('says which address the cluster names if that cannot be reached', async () => {
    const cluster = fakeCluster(({ host }) => {
      if (host === 'inside') throw new Error('ECONNREFUSED');
      return { ping: async () => undefined };
    });
    const call = cluster.call((connection) => connection.ping(), { at: { host: 'inside', port: 9 } });
    await expect(call).rejects.toThrow('names inside:9 as one of its servers (advertised.listeners)');
  });

  test('ends what is under way when it is closed', async () => {
    let closed = 0;
    const cluster = fakeCluster(() => ({ ping: () => new Promise(() => {}), close: () => void (closed += 1) }));
    const call = cluster.call((connection) => connection.ping());
    await new Promise((resolve) => setImmediate(resolve));
    cluster.close();
    await expect(call).rejects.toThrow('closed');
    expect(closed).toBeGreaterThan(0);
  });
});
