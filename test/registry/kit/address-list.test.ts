import { describe, expect, it } from '@jest/globals';

import { Code } from '../../../src/errors/errors.ts';
import {
  AddressList,
  formatAddress,
  parseAddresses,
  type ServerAddress,
} from '../../../src/registry/kit/address-list.ts';
import { virtualRuntime } from '../../../src/testing/virtual-time.ts';

const away = new Error('away');
const wrong = new Error('wrong');

function scene(text = 'a:1,b:2,c:3') {
  const runtime = virtualRuntime();
  const list = new AddressList(parseAddresses(text, 80), {
    ...runtime,
    registry: 'scripted',
    serverName: 'the server',
  });
  const tried: string[] = [];
  const down = new Set<string>();
  const controller = new AbortController();
  const run = (
    work: (address: ServerAddress, signal: AbortSignal) => Promise<string> = async ({ host }) => host,
  ): Promise<string> =>
    list.run(
      { method: 'getService', signal: controller.signal, timeoutMs: 900, isFaultOfAddress: (error) => error === away },
      async (address, signal) => {
        tried.push(address.host);
        if (down.has(address.host)) throw away;
        return work(address, signal);
      },
    );
  return { list, run, tried, down, timers: runtime.timers, controller };
}

describe('AddressList', () => {
  it('begins with any of the addresses if it is told to', () => {
    const addresses = parseAddresses('a:1,b:2,c:3,d:4', 80);
    const options = { ...virtualRuntime(), registry: 'scripted', serverName: 'the server' };
    const begins = (next: number): string =>
      new AddressList(addresses, {
        ...options,
        random: { ...options.random, next: () => next },
        beginsAnywhere: true,
      }).inOrder
        .map(({ host }) => host)
        .join('');
    expect([0, 0.25, 0.74, 0.999].map(begins)).toEqual(['abcd', 'bcda', 'cdab', 'dabc']);
    expect(new AddressList(addresses, options).current.host).toBe('a');
  });

  it('stays with the address that works', async () => {
    const { run, tried, down } = scene();
    expect([await run(), await run()]).toEqual(['a', 'a']);
    down.add('a');
    expect([await run(), await run()]).toEqual(['b', 'b']);
    down.clear();
    expect(await run()).toBe('b');
    expect(tried).toEqual(['a', 'a', 'a', 'b', 'b', 'b']);
  });

  it('skips an address that failed for growing delays, and tries it if no other is left', async () => {
    const { run, tried, down, timers } = scene('a,b');
    down.add('a').add('b');
    await expect(run()).rejects.toBe(away);
    expect(tried).toEqual(['a', 'b']);
    // Both rest: the one that may come back first is the first.
    await expect(run()).rejects.toBe(away);
    expect(tried.slice(2)).toEqual(['a', 'b']);
    down.delete('a');
    expect(await run()).toBe('a');
    down.add('a');
    down.delete('b');
    expect(await run()).toBe('b');
    await timers.advance(60_000);
    tried.length = 0;
    expect(await run()).toBe('b');
    expect(tried).toEqual(['b']);
  });

  it("does not try another address after an error that is not the address's", async () => {
    const { run, tried, list } = scene();
    await expect(
      run(async () => {
        throw wrong;
      }),
    ).rejects.toBe(wrong);
    expect(tried).toEqual(['a']);
    expect(list.current.host).toBe('a');
  });

  it('gives an address that does not answer its share of the time limit', async () => {
    const { run, tried, timers, list } = scene();
    const answered = run(({ host }) => (host === 'a' ? new Promise(() => {}) : Promise.resolve(host)));
    await timers.advance(299);
    expect(tried).toEqual(['a']);
    await timers.advance(1);
    expect(await answered).toBe('b');
    expect(list.current.host).toBe('b');
  });

  it('rejects with a time-out that names the address if none answers', async () => {
    const { run, tried, timers } = scene();
    const failed = run(() => new Promise(() => {})).catch((error: unknown) => error);
    await timers.advance(900);
    expect(await failed).toMatchObject({
      code: Code.DeadlineExceeded,
      reason: 'registry.timeout',
      message: expect.stringContaining('the server at c:3'),
    });
    expect(tried).toEqual(['a', 'b', 'c']);
  });

  it('rejects when the caller aborts', async () => {
    const { run, tried, controller, timers, list } = scene();
    const failed = run(() => new Promise(() => {})).catch((error: unknown) => error);
    await timers.settle();
    controller.abort();
    expect(await failed).toMatchObject({ code: Code.Cancelled });
    expect(tried).toEqual(['a']);
    expect(list.current.host).toBe('a');
  });
});

describe('parsing the text of an address list', () => {
  it('reads hosts separated by commas, with or without ports', () => {
    const text = 'a:1, b ,[::1]:7,[fe80::2],10.0.0.1:65535';
    expect(parseAddresses(text, 2379).map(formatAddress)).toEqual([
      'a:1',
      'b:2379',
      '[::1]:7',
      '[fe80::2]:2379',
      '10.0.0.1:65535',
    ]);
  });

  it.each(['', ',', 'a,', 'a b', 'a:0', 'a:65536', 'a:port', 'http://a', 'a/b', '::1', 'user:secret@a:1'])(
    'refuses "%s"',
    (text) => {
      let thrown: unknown;
      try {
        parseAddresses(text, 80);
      } catch (error) {
        thrown = error;
      }
      expect(thrown).toMatchObject({ code: Code.InvalidArgument, reason: 'registry.invalid_address' });
      expect((thrown as Error).message).not.toContain('secret');
    },
  );
});
