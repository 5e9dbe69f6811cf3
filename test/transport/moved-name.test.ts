import dns from 'node:dns';

import { afterEach, expect, it, jest } from '@jest/globals';

import { Context } from '../../src/context/context.ts';
import { okStatus } from '../../src/context/status.ts';
import { systemClock } from '../../src/runtime/system.ts';
import type { Listener } from '../../src/transport/transport.ts';
import { within } from '../../src/testing/waiting.ts';
import { grpcNames, grpcTransport, methods } from './support.ts';

// A call that is made again and again has its end by then, on a machine that is busy too.
const patienceMs = 15_000;

afterEach(() => void jest.restoreAllMocks());

it.each(grpcNames)(
  'a name that moves to another address is found there by the next attempts to connect, over %s',
  async (name) => {
    const transport = grpcTransport(name, { maxReconnectMs: 100 });
    const serve = async (address: string): Promise<Listener> => {
      const listener = await transport.listen(address, { routes: [methods.unary] });
      listener.accept((socket) => void socket.send({ body: Buffer.from(address.slice(0, 9)), status: okStatus }));
      return listener;
    };
    let place = '127.0.0.1';
    const found = async (): Promise<dns.LookupAddress[]> => [{ address: place, family: 4 }];
    jest.spyOn(dns.promises, 'lookup').mockImplementation(found as never);
    const lookup = (_host: string, ...more: unknown[]): void => {
      const done = more.at(-1) as (...told: unknown[]) => void;
      if ((more[0] as dns.LookupOptions).all) done(null, [{ address: place, family: 4 }]);
      else done(null, place, 4);
    };
    jest.spyOn(dns, 'lookup').mockImplementation(lookup);
    const call = async (): Promise<string> => {
      const ctx = new Context({ service: 's', endpoint: 'e', deadline: systemClock.monotonicMs() + patienceMs });
      const options = { route: methods.unary, ctx, waitForReady: true };
      const message = { body: Buffer.from('x') };
      const { body } = await within('the call', transport.unary(`moving.test:${port}`, message, options), {
        limitMs: 2 * patienceMs,
        keepAlive: true,
      });
      return Buffer.from(body!).toString();
    };
    const first = await serve('127.0.0.1:0');
    const port = first.addr().split(':').at(-1);
    let second: Listener | undefined;
    try {
      expect(await call()).toBe('127.0.0.1');
      await within('the end of the first', first.close());
      place = '127.0.0.2';
      second = await serve(`127.0.0.2:${port}`);
      expect(await call()).toBe('127.0.0.2');
    } finally {
      await within('closing', Promise.all([first.close(), second?.close(), transport.close()]), { keepAlive: true });
    }
  },
  5 * patienceMs,
);
