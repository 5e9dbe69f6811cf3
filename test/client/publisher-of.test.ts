import { afterEach, describe, expect, it } from '@jest/globals';
import { inject } from 'inversify';

import { System } from '../../src/app/system.ts';
import { Broker, type Event } from '../../src/broker/broker.ts';
import { eventsContractOf, publisherOver } from '../../src/client/publisher-of.ts';
import {
  Client,
  clientOf,
  Code,
  eventsOf,
  Handler,
  publisherOf,
  type PublisherOf,
  Rpc,
  Service,
  Subscribe,
} from '../../src/index.ts';
import { eventually } from '../support/waiting.ts';

interface OrderEvents {
  placed: { readonly id: string; readonly total: number };
  cancelled: { readonly id: string };
}
const OrderEvents = eventsOf<OrderEvents>('orders', {
  placed: { orderKey: ({ id }) => `order ${id}`, dedupeKey: ({ id }) => `placed ${id}` },
  cancelled: { topic: 'gone.orders' },
});

const systems: System[] = [];
afterEach(async () => {
  await Promise.all(systems.splice(0).map((system) => system.stop()));
});

describe('a typed publisher', () => {
  it('is injected by its key, and publishes events that handlers of its topics get', async () => {
    const handled: unknown[] = [];
    @Handler('shop.Checkout')
    class Checkout {
      constructor(@inject(publisherOf(OrderEvents)) private readonly orders: PublisherOf<OrderEvents>) {}
      @Rpc() async place(request: { id: string }): Promise<object> {
        await this.orders.placed({ id: request.id, total: 7 });
        await this.orders.cancelled({ id: request.id });
        return {};
      }
    }
    @Handler()
    class Billing {
      @Subscribe(OrderEvents.topics.placed) onPlaced(order: OrderEvents['placed']): void {
        handled.push(order);
      }
      @Subscribe('gone.orders') onCancelled(order: OrderEvents['cancelled']): void {
        handled.push(order);
      }
    }
    @Service({ name: 'shop', handlers: [Checkout, Billing] })
    class Shop {}
    const system = await System.start([Shop], { profile: 'test' });
    systems.push(system);
    await system.client(Checkout).place({ id: '1' });
    await eventually('both events', () => handled.length === 2);
    expect(handled).toEqual(expect.arrayContaining([{ id: '1', total: 7 }, { id: '1' }]));
  });

  it('makes the keys of an event from the event, unless its options say others', async () => {
    @Handler()
    class Nothing {
      @Subscribe('nothing') on(): void {}
    }
    @Service({ name: 'shop', handlers: [Nothing] })
    class Shop {}
    const system = await System.start([Shop], { profile: 'test' });
    systems.push(system);
    const events: Event[] = [];
    await system.get(Broker).subscribe('orders.placed', (event) => (events.push(event), event.ack()));
    const orders = publisherOver(system.get(Client), OrderEvents);
    await orders.placed({ id: '1', total: 1 });
    await orders.placed({ id: '2', total: 2 }, { orderKey: 'o', dedupeKey: 'd' });
    await eventually('both events', () => events.length === 2);
    expect(events.map(({ headers }) => [headers['tenon-order-key'], headers['tenon-dedupe-key']])).toEqual([
      ['order 1', 'placed 1'],
      ['o', 'd'],
    ]);
  });

  it('has one key for each contract', () => {
    expect(publisherOf(OrderEvents)).toBe(publisherOf(OrderEvents));
    expect(eventsContractOf(publisherOf(OrderEvents))).toBe(OrderEvents);
    expect(eventsContractOf(clientOf(class {}))).toBeUndefined();
    expect(OrderEvents.topics).toEqual({ placed: 'orders.placed', cancelled: 'gone.orders' });
  });

  it.each([
    ['an empty name', () => eventsOf<OrderEvents>('', { placed: {}, cancelled: {} })],
    ['an empty topic', () => eventsOf<OrderEvents>('orders', { placed: { topic: '' }, cancelled: {} })],
  ])('refuses %s', (_name, make) => {
    expect(make).toThrow(expect.objectContaining({ code: Code.InvalidArgument, reason: 'client.invalid_source' }));
  });
});
