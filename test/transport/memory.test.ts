import { describe, expect, it } from '@jest/globals';

import { Context } from '../../src/context/context.ts';
import { okStatus } from '../../src/context/status.ts';
import { Code } from '../../src/errors/errors.ts';
import { systemTimers } from '../../src/runtime/system.ts';
import { VirtualTimers } from '../../src/testing/virtual-time.ts';
import { MemoryTransport } from '../../src/transport/memory.ts';
import type { Socket } from '../../src/transport/transport.ts';
import { methods } from './support.ts';

/** Time that stands still, in which the next turn of the event loop comes when the test says so. */
class HeldTurns extends VirtualTimers {
  readonly #soon: (() => void)[] = [];

  override soon(callback: () => void): void {
    this.#soon.push(callback);
  }

  turn(): void {
    for (const run of this.#soon.splice(0)) run();
  }
}

function stillTime() {
  const timers = new HeldTurns(1_000_000);
  return { timers, runtime: { clock: { now: () => timers.nowMs, monotonicMs: () => timers.nowMs }, timers } };
}

const turn = (): Promise<void> => new Promise((resolve) => systemTimers.soon(resolve));

async function listening(transport: MemoryTransport, accept: (socket: Socket) => void) {
  const listener = await transport.listen('127.0.0.1:0', { routes: Object.values(methods) });
  listener.accept(accept);
  return listener;
}

describe('the memory transport', () => {
  it('passes deadlines by the clock that it was given', async () => {
    const time = stillTime();
    const transport = new MemoryTransport({ runtime: time.runtime });
    const seen: (number | undefined)[] = [];
    const codes: Code[] = [];
    const listener = await listening(transport, (socket) => {
      seen.push(socket.deadline);
      socket.onAbort(({ code }) => codes.push(code));
    });
    const ctx = new Context({ service: 'a', endpoint: 'b', deadline: time.timers.nowMs + 5_000 });
    const call = transport.unary(listener.addr(), { body: Buffer.from('x') }, { route: methods.unary, ctx });
    const failure = call.catch((error: unknown) => error);
    await turn();
    time.timers.turn();
    await time.timers.advance(4_900);
    expect(codes).toEqual([]);
    await time.timers.advance(200);
    expect(await failure).toMatchObject({ code: Code.DeadlineExceeded, reason: 'call.deadline_exceeded' });
    expect(seen).toEqual([ctx.deadline]);
    expect(codes).toEqual([Code.DeadlineExceeded]);
  });

  it('arms no timer for a call that is over within the turn it was made in', async () => {
    const time = stillTime();
    const transport = new MemoryTransport({ runtime: time.runtime });
    const listener = await listening(
      transport,
      (socket) => void socket.send({ body: Buffer.from('y'), status: okStatus }),
    );
    for (let call = 0; call < 10; call += 1) {
      const ctx = new Context({ service: 'a', endpoint: 'b', deadline: time.timers.nowMs + 5_000 });
      await transport.unary(listener.addr(), { body: Buffer.from('x') }, { route: methods.unary, ctx });
    }
    time.timers.turn();
    expect(time.timers.pending).toBe(0);
  });

  it('runs no handler inside the stack of its caller', async () => {
    const transport = new MemoryTransport();
    let wasCalled = false;
    const listener = await listening(transport, (socket) => {
      wasCalled = true;
      void socket.send({ body: Buffer.from('y'), status: okStatus });
    });
    const call = transport.unary(listener.addr(), { body: Buffer.from('x') }, { route: methods.unary });
    expect(wasCalled).toBe(false);
    await call;
    expect(wasCalled).toBe(true);
  });

  it('is a network of its own: what listens on one instance is not there for another', async () => {
    const listener = await listening(new MemoryTransport(), () => {});
    const call = new MemoryTransport().unary(listener.addr(), { body: Buffer.from('x') }, { route: methods.unary });
    await expect(call).rejects.toMatchObject({ reason: 'transport.unreachable' });
  });

  it('opens no port: an address with one is a name', async () => {
    const transport = new MemoryTransport();
    const one = await transport.listen('127.0.0.1:1', { routes: [] });
    const two = await transport.listen('10.255.255.1:1', { routes: [] });
    expect([one.addr(), two.addr()]).toEqual(['127.0.0.1:1', '10.255.255.1:1']);
  });
});
