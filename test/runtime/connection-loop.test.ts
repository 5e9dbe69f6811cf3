import { describe, expect, it } from '@jest/globals';

import { ConnectionLoop, type ConnectionLoopOptions, type ServerAddress } from '../../src/runtime/connection-loop.ts';
import { virtualRuntime } from '../../src/testing/virtual-time.ts';

/** A connection that a test ends. */
class TestConnection {
  readonly ended: Promise<Error>;
  end: (error: Error) => void = () => {};
  readonly host: string;

  constructor(host: string) {
    this.host = host;
    this.ended = new Promise((resolve) => (this.end = resolve));
  }
}

type Options = ConnectionLoopOptions<TestConnection, string>;

function loopOf(open: (host: string, signal: AbortSignal) => Promise<TestConnection>, more: Partial<Options> = {}) {
  const runtime = virtualRuntime();
  const told: string[] = [];
  const attempts: string[] = [];
  const opened: TestConnection[] = [];
  const loop = new ConnectionLoop<TestConnection, string>({
    runtime,
    addresses: {
      inOrder: ['a', 'b'].map((host) => ({ host, port: 1 })),
      succeeded: ({ host }: ServerAddress) => told.push(`${host} succeeded`),
      failed: ({ host }: ServerAddress) => told.push(`${host} failed`),
    },
    connectTimeoutMs: 1_000,
    maxBackoffMs: 400,
    security: () => 'secret',
    open: ({ host }, security, signal) => {
      attempts.push(`${host} at ${runtime.timers.nowMs} with ${security}`);
      return open(host, signal);
    },
    onTimeout: (ms) => new Error(`nothing in ${ms} ms`),
    onOpened: (connection, security) => {
      opened.push(connection);
      told.push(`opened ${connection.host} with ${security}`);
    },
    onEnded: ({ host }, error) => told.push(`ended ${host}: ${error.message}`),
    onFailed: (error) => told.push(`none: ${(error as Error).message}`),
    ...more,
  });
  return { runtime, loop, told, attempts, opened };
}

const never = (): Promise<TestConnection> => new Promise(() => {});
const refused = (host: string): Promise<never> => Promise.reject(new Error(`${host} refuses`));

describe('a ConnectionLoop', () => {
  it('tries the addresses in turn, from its start on, and notes which of them work', async () => {
    const { loop, runtime, told, attempts } = loopOf((host) =>
      host === 'a' ? refused(host) : Promise.resolve(new TestConnection(host)),
    );
    await runtime.timers.advance(100);
    expect([attempts, loop.failedHost]).toEqual([[], undefined]);
    loop.start();
    loop.start();
    await runtime.timers.advance(10_000);
    expect(attempts).toEqual(['a at 100 with secret', 'b at 100 with secret']);
    expect(told).toEqual(['a failed', 'b succeeded', 'opened b with secret']);
    expect(loop.failedHost).toBe('a');
  });

  it('opens the next connection soon after one that has lasted', async () => {
    const { loop, runtime, told, attempts, opened } = loopOf((host) => Promise.resolve(new TestConnection(host)));
    loop.start();
    await runtime.timers.advance(500);
    opened[0]?.end(new Error('gone'));
    await runtime.timers.advance(49);
    expect(attempts).toHaveLength(1);
    await runtime.timers.advance(1);
    expect(attempts).toEqual(['a at 0 with secret', 'a at 550 with secret']);
    expect(told).toEqual([
      'a succeeded',
      'opened a with secret',
      'ended a: gone',
      'a succeeded',
      'opened a with secret',
    ]);
  });

  it('waits longer after each connection that ends at once, and each attempt without one', async () => {
    const ending = loopOf((host) => {
      const connection = new TestConnection(host);
      connection.end(new Error('at once'));
      return Promise.resolve(connection);
    });
    ending.loop.start();
    await ending.runtime.timers.advance(1_000);
    const waits = [0, 50, 150, 350, 550, 750, 950];
    expect(ending.attempts).toEqual(waits.map((ms) => `a at ${ms} with secret`));
    const failing = loopOf(refused);
    failing.loop.start();
    await failing.runtime.timers.advance(400);
    expect(failing.attempts.filter((text) => text.startsWith('b'))).toEqual(
      [0, 50, 150, 350].map((ms) => `b at ${ms} with secret`),
    );
    expect(failing.told.slice(0, 3)).toEqual(['a failed', 'b failed', 'none: b refuses']);
  });

  it('blames no address where TLS and credentials cannot be read, and reads them again', async () => {
    let isBroken = true;
    const { loop, runtime, told } = loopOf((host) => Promise.resolve(new TestConnection(host)), {
      security: () => {
        if (isBroken) throw new Error('no such file');
        return 'read';
      },
    });
    loop.start();
    await runtime.timers.advance(10);
    isBroken = false;
    await runtime.timers.advance(100);
    expect(told).toEqual(['none: no such file', 'a succeeded', 'opened a with read']);
  });

  it('leaves an address that gives no connection in time', async () => {
    const signals: AbortSignal[] = [];
    const { loop, runtime, told } = loopOf((_, signal) => {
      signals.push(signal);
      return never();
    });
    loop.start();
    await runtime.timers.advance(2_000);
    expect(told).toEqual(['a failed', 'b failed', 'none: nothing in 1000 ms']);
    expect(signals.map(({ aborted, reason }) => [aborted, (reason as Error).message])).toEqual([
      [true, 'nothing in 1000 ms'],
      [true, 'nothing in 1000 ms'],
    ]);
  });

  it('opens nothing after it was closed, and ends the attempt under way', async () => {
    const signals: AbortSignal[] = [];
    const { loop, runtime, told, attempts } = loopOf((_, signal) => {
      signals.push(signal);
      return never();
    });
    loop.start();
    await runtime.timers.advance(10);
    const closed = new Error('closed');
    loop.close(closed);
    await runtime.timers.advance(10_000);
    expect([loop.closing.reason, signals[0]?.reason]).toEqual([closed, closed]);
    expect(attempts).toHaveLength(1);
    expect(told).toEqual(['a failed', 'none: closed']);
    const another = loopOf((host) => Promise.resolve(new TestConnection(host)));
    another.loop.start();
    await another.runtime.timers.advance(10);
    another.loop.close(closed);
    another.opened[0]?.end(closed);
    await another.runtime.timers.advance(10_000);
    expect(another.attempts).toHaveLength(1);
  });
});
