import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, describe, expect, it, jest } from '@jest/globals';

import { Context } from '../../src/context/context.ts';
import { Code } from '../../src/errors/errors.ts';
import { systemClock } from '../../src/runtime/system.ts';
import { MemoryTransport } from '../../src/transport/memory.ts';
import { TcpTransport } from '../../src/transport/tcp.ts';
import type { Transport } from '../../src/transport/transport.ts';
import { UnixTransport } from '../../src/transport/unix.ts';
import { grpcTransport, methods } from './support.ts';

const transports: Readonly<Record<string, { make: () => Transport; address: string }>> = {
  grpc: { make: () => grpcTransport('grpc'), address: '127.0.0.1:0' },
  'grpc-js': { make: () => grpcTransport('grpc-js'), address: '127.0.0.1:0' },
  tcp: { make: () => new TcpTransport(), address: '127.0.0.1:0' },
  unix: { make: () => new UnixTransport(), address: `unix:${join(tmpdir(), `tenon-wall-${process.pid}.sock`)}` },
  memory: { make: () => new MemoryTransport(), address: '127.0.0.1:0' },
};

afterEach(() => void jest.restoreAllMocks());

describe.each(Object.keys(transports))('a deadline over %s', (name) => {
  it.each([-3_600_000, 3_600_000])(
    'ends the call in its time on both sides, though the machine’s clock is set by %i ms',
    async (byMs) => {
      const { make, address } = transports[name]!;
      const [transport, real] = [make(), Date.now];
      const listener = await transport.listen(address, { routes: [methods.unary] });
      let aborted: Promise<Code> | undefined;
      let timeoutMs = 250;
      listener.accept((socket) => {
        expect(socket.deadline! - systemClock.monotonicMs()).toBeLessThanOrEqual(timeoutMs);
        jest.spyOn(Date, 'now').mockImplementation(() => real() + byMs);
        aborted ??= new Promise((resolve) => socket.onAbort(({ code }) => resolve(code)));
      });
      try {
        // A call whose time is up before it has arrived is made again with more.
        for (; !aborted && timeoutMs < 60_000; timeoutMs *= 4) {
          const ctx = new Context({ service: 's', endpoint: 'e', deadline: systemClock.monotonicMs() + timeoutMs });
          const call = transport.unary!(listener.addr(), { body: Buffer.from('x') }, { route: methods.unary, ctx });
          await expect(call).rejects.toMatchObject({ code: Code.DeadlineExceeded });
          // Dates and timers are of whole milliseconds, on both sides: each may cut one off.
          expect(systemClock.monotonicMs()).toBeGreaterThanOrEqual(ctx.deadline! - 4);
        }
        expect([Code.DeadlineExceeded, Code.Cancelled]).toContain(await aborted);
      } finally {
        await listener.close();
        await transport.close();
      }
    },
    120_000,
  );
});
