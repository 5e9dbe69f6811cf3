import { type EventsContract, eventsOf, publisherOf, type PublisherOf, type PublisherToken, Subscribe } from 'tenon';

interface OrderEvents {
  placed: { id: string; total: number };
  cancelled: { id: string };
}

const OrderEvents = eventsOf<OrderEvents>('orders', {
  placed: { orderKey: ({ id }) => id, dedupeKey: (event) => String(event.total) },
  cancelled: { topic: 'orders.gone' },
});
OrderEvents satisfies EventsContract<OrderEvents>;
publisherOf(OrderEvents) satisfies PublisherToken<OrderEvents>;
OrderEvents.topics.placed satisfies string;
// @ts-expect-error there is no such event
void OrderEvents.topics.paid;

// @ts-expect-error each event is listed
eventsOf<OrderEvents>('orders', { placed: {} });
// @ts-expect-error the interface has no such event
eventsOf<OrderEvents>('orders', { placed: {}, cancelled: {}, paid: {} });
// @ts-expect-error the event has no such field
eventsOf<OrderEvents>('orders', { placed: { orderKey: ({ number }) => number }, cancelled: {} });

declare const orders: PublisherOf<OrderEvents>;

export async function publishing(): Promise<void> {
  await orders.placed({ id: '1', total: 2 }, { orderKey: 'k', timeoutMs: 100 });
  orders.cancelled({ id: '1' }) satisfies Promise<void>;
  // @ts-expect-error the event needs a total
  await orders.placed({ id: '1' });
  // @ts-expect-error the id is a text
  await orders.cancelled({ id: 1 });
  // @ts-expect-error there is no such event
  await orders.paid({ id: '1' });
  // @ts-expect-error there is no such option
  await orders.cancelled({ id: '1' }, { queue: 'q' });
}

export class Billing {
  @Subscribe(OrderEvents.topics.placed, { queue: 'billing' })
  async onPlaced(_order: OrderEvents['placed']): Promise<void> {}
}
