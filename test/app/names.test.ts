import { afterEach, describe, expect, it } from '@jest/globals';
import { inject } from 'inversify';

import { verify } from '../../src/app/verify.ts';
import { type ClientOf, clientOf } from '../../src/client/client-of.ts';
import { Broker, Code, Handler, Registry, Rpc, Service, System } from '../../src/index.ts';

const held: Record<string, string | undefined> = { ...process.env };
let system: System | undefined;
afterEach(async () => {
  await system?.stop();
  system = undefined;
  for (const name of Object.keys(process.env)) if (!(name in held)) delete process.env[name];
});

@Handler('shop.orders.v1.Orders')
class OrdersHandler {
  @Rpc() async place(): Promise<object> {
    return { placed: true };
  }
}

@Handler('desk.Desk')
class DeskHandler {
  constructor(@inject(clientOf(OrdersHandler)) private readonly orders: ClientOf<OrdersHandler>) {}
  @Rpc() async order(): Promise<object> {
    return this.orders.place();
  }
}

@Service({ name: 'orders', handlers: [OrdersHandler] })
class Orders {}
@Service({ name: 'desk', handlers: [DeskHandler] })
class Desk {}

describe('a handler whose package is not the name of its service', () => {
  it('is found by the name of its service within the same program', async () => {
    system = await System.start([Orders, Desk], { profile: 'test' });
    expect(await system.client(OrdersHandler).place()).toEqual({ placed: true });
    expect(await system.client(DeskHandler).order()).toEqual({ placed: true });
  });

  it('is found by the name that TENON_SERVER_NAME gives its service', async () => {
    system = await System.start([Orders], { profile: 'test', env: { TENON_SERVER_NAME: 'o2' } });
    expect(await system.client(OrdersHandler).place()).toEqual({ placed: true });
  });

  it('is a note of verify, with both names', async () => {
    const { ok, notes } = await verify([Orders, Desk], { profile: 'test' });
    expect(ok).toBe(true);
    expect(notes).toEqual([
      {
        level: 'info',
        kind: 'unexpected-service-name',
        where: 'shop.orders.v1.Orders',
        message:
          'shop.orders.v1.Orders is served by "orders"; callers elsewhere who know only the .proto look for "shop.orders.v1"',
        fix: "name the service so: @Service({ name: 'shop.orders.v1' }); or let callers say service: 'orders'",
      },
    ]);
  });

  it('is no note if @Handler names the service', async () => {
    @Handler('shop.orders.v1.Orders', { service: 'orders' })
    class NamedHandler extends OrdersHandler {}
    @Service({ name: 'orders', handlers: [NamedHandler] })
    class Named {}
    expect((await verify([Named], { profile: 'test' })).notes).toEqual([]);
  });

  it('is not found by other programs, and the error names the remedy', async () => {
    system = await System.start([], { profile: 'test' });
    const failure: unknown = await system
      .client(OrdersHandler)
      .place()
      .catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: Code.Unavailable, reason: 'client.no_node' });
    expect((failure as Error).message).toContain('"shop.orders.v1" is the package of shop.orders.v1.Orders');
  });
});

describe('the profile test, named in code', () => {
  it('does not depend on variables of the shell', async () => {
    Object.assign(process.env, { TENON_REGISTRY: 'redis', TENON_BROKER: 'redis-streams', TENON_NONSENSE: 'x' });
    system = await System.start([Orders], { profile: 'test' });
    expect(String(system.get(Broker))).toBe('memory');
    expect(String(system.get(Registry))).toContain('memory');
    const given = await verify([Orders], { profile: 'test', env: process.env });
    expect(given.ok).toBe(false);
  });
});
