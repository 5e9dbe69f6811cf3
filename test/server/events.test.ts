import { afterEach, describe, expect, it } from '@jest/globals';
import { type Container, inject } from 'inversify';

import { System } from '../../src/app/system.ts';
import { Broker } from '../../src/broker/broker.ts';
import type { Context } from '../../src/context/context.ts';
import { Client, Code, Handler, Service, Subscribe } from '../../src/index.ts';
import { Logger } from '../../src/logger/logger.ts';
import { eventually } from '../support/waiting.ts';
import { RecordingLogger } from '../../src/testing/recorders.ts';

const systems: System[] = [];
afterEach(async () => {
  await Promise.all(systems.splice(0).map((system) => system.stop()));
});

async function started(
  handlers: readonly (new (...args: never[]) => object)[],
  options: object = {},
): Promise<[System, Broker]> {
  @Service({ name: 'shop', handlers: [...handlers] })
  class Shop {}
  const system = await System.start([Shop], { profile: 'test', ...options });
  systems.push(system);
  return [system, system.get(Broker)];
}

const send = (broker: Broker, topic: string, headers: Record<string, string> = {}): Promise<void> =>
  broker.publish(topic, { headers, body: Buffer.from('{"n":1}') });

describe('an event whose handler fails', () => {
  it('is a dead letter with reason, message, count, original topic and headers, on the broker and in the metadata', async () => {
    const metadata: Context['metadata'][] = [];
    @Handler()
    class Orders {
      @Subscribe('orders', { retryDelayMs: 1 }) onOrder(): void {
        throw new RangeError('zu groß:\n100 %');
      }
      @Subscribe('orders.dead-letter') onDead(_event: object, ctx: Context): void {
        metadata.push(ctx.metadata);
      }
    }
    const [, broker] = await started([Orders]);
    const headers: Readonly<Record<string, string>>[] = [];
    await broker.subscribe('orders.dead-letter', (event) => (headers.push(event.headers), event.ack()));
    await send(broker, 'orders', { kept: 'yes', constructor: 'text' });
    await eventually('the dead letter', () => metadata.length === 1 && headers.length === 1);
    expect(headers[0]).toEqual({
      kept: 'yes',
      constructor: 'text',
      'tenon-dead-letter-reason': 'handler_failed',
      'tenon-dead-letter-code': 'INTERNAL',
      'tenon-dead-letter-message': 'zu groß:\n100 %',
      'tenon-attempts': '4',
      'tenon-first-failed-at': expect.stringMatching(/^\d{4}-.*Z$/),
      'tenon-last-failed-at': expect.stringMatching(/^\d{4}-.*Z$/),
      'tenon-original-topic': 'orders',
    });
    expect(Object.fromEntries(metadata[0] ?? [])).toEqual({
      ...headers[0],
      'tenon-dead-letter-message': 'zu gro%C3%9F:%0A100 %25',
    });
  });

  it('is logged once per attempt, with what was thrown', async () => {
    const logger = new RecordingLogger();
    const thrown = new RangeError('no');
    @Handler()
    class Orders {
      @Subscribe('orders', { retry: 1, retryDelayMs: 1 }) onOrder(): void {
        throw thrown;
      }
    }
    const [, broker] = await started([Orders], {
      bind: (container: Container) => void container.rebind(Logger).toConstantValue(logger),
    });
    await send(broker, 'orders');
    const about = (): unknown[] => logger.lines.filter(({ fields }) => fields['error'] !== undefined);
    await eventually('the last attempt', () => about().length >= 2);
    expect(about()).toEqual([
      expect.objectContaining({ level: 'warn', fields: expect.objectContaining({ error: thrown, attempt: 1 }) }),
      expect.objectContaining({ level: 'error', fields: expect.objectContaining({ error: thrown, attempts: 2 }) }),
    ]);
  });
});

describe('an event that is a CloudEvent', () => {
  it.each(['binary', 'structured'] as const)('is read by its data: %s', async (mode) => {
    const handled: unknown[] = [];
    @Handler()
    class Orders {
      @Subscribe('orders') onOrder(event: object, ctx: Context): void {
        handled.push(event, ctx.metadata.text('ce-type'));
      }
    }
    const [system] = await started([Orders]);
    const client = system.get(Client);
    const cloudEvent = { mode, source: '/shop', type: 'order.placed' };
    await client.publish(client.newMessage('orders', { n: 7 }), { cloudEvent });
    await system.settled();
    expect(handled).toEqual([{ n: 7 }, mode === 'binary' ? 'order.placed' : undefined]);
  });

  it('that is broken is a dead letter', async () => {
    @Handler()
    class Orders {
      @Subscribe('orders') onOrder(): void {}
    }
    const [system, broker] = await started([Orders]);
    const dead: Readonly<Record<string, string>>[] = [];
    await broker.subscribe('orders.dead-letter', (event) => (dead.push(event.headers), event.ack()));
    await send(broker, 'orders', { 'Content-Type': 'application/cloudevents+json' });
    await system.settled();
    expect(dead[0]).toMatchObject({ 'tenon-dead-letter-reason': 'broker.invalid_cloud_event', 'tenon-attempts': '1' });
  });
});

describe('settled of a system', () => {
  it('waits for handlers, and for the events that they publish', async () => {
    const handled: string[] = [];
    @Handler()
    class Orders {
      constructor(@inject(Client) private readonly client: Client) {}
      @Subscribe('orders') async onOrder(): Promise<void> {
        await new Promise((resolve) => setTimeout(resolve, 20));
        handled.push('order');
        await this.client.publish(this.client.newMessage('bills', {}));
      }
      @Subscribe('bills') onBill(): void {
        handled.push('bill');
      }
    }
    const [system, broker] = await started([Orders]);
    await send(broker, 'orders');
    await system.settled();
    expect(handled).toEqual(['order', 'bill']);
  });

  it('is refused over a broker that cannot say so', async () => {
    @Handler()
    class Orders {
      @Subscribe('orders') onOrder(): void {}
    }
    const [system, broker] = await started([Orders]);
    Object.defineProperty(broker, 'settled', { value: undefined });
    await expect(system.settled()).rejects.toMatchObject({
      code: Code.FailedPrecondition,
      reason: 'app.cannot_settle',
      message: expect.stringContaining('"memory"'),
    });
  });
});

describe('an event that cannot be read', () => {
  it.each([
    ['has other bytes than its content type says', { 'Content-Type': 'application/json' }, '{"n":', 'codec.'],
    ['has a content type that no codec reads', { 'Content-Type': 'application/x-unknown' }, '{}', 'codec.'],
  ])('is a dead letter without another attempt if it %s', async (_name, headers, body, reason) => {
    const handled: object[] = [];
    @Handler()
    class Orders {
      @Subscribe('orders') onOrder(event: object): void {
        handled.push(event);
      }
    }
    const [, broker] = await started([Orders]);
    const dead: Readonly<Record<string, string>>[] = [];
    await broker.subscribe('orders.dead-letter', (event) => (dead.push(event.headers), event.ack()));
    await broker.publish('orders', { headers, body: Buffer.from(body) });
    await eventually('the dead letter', () => dead.length === 1);
    expect(dead[0]).toMatchObject({ ...headers, 'tenon-attempts': '1' });
    expect(dead[0]?.['tenon-dead-letter-reason']).toContain(reason);
    await send(broker, 'orders');
    await eventually('the good event', () => handled.length === 1);
  });
});

describe('an event whose handler does not end', () => {
  it('is given up after handlerTimeoutMs: its context is aborted, and the event is handled again', async () => {
    const contexts: Context[] = [];
    @Handler()
    class Orders {
      @Subscribe('orders', { queue: 'q', handlerTimeoutMs: 30, retryDelayMs: 1 })
      async onOrder(_event: object, ctx: Context): Promise<void> {
        contexts.push(ctx);
        if (contexts.length === 1) await new Promise(() => {});
      }
    }
    const [, broker] = await started([Orders]);
    await send(broker, 'orders');
    await eventually('the second attempt', () => contexts.length === 2);
    expect(contexts[0]?.signal.reason).toMatchObject({
      code: Code.DeadlineExceeded,
      reason: 'broker.handler_timeout',
      message: expect.stringContaining('has not returned after 30 ms'),
    });
    expect(contexts[1]?.signal.aborted).toBe(false);
    // Calls of the handler keep to it.
    const [first = 0, second = 0] = contexts.map(({ deadline }) => deadline);
    expect(second).toBeGreaterThanOrEqual(first + 30);
  });

  it('is aborted in its context when the service has drained for as long as it may', async () => {
    const contexts: Context[] = [];
    @Handler()
    class Orders {
      @Subscribe('orders', { queue: 'q' }) async onOrder(_event: object, ctx: Context): Promise<void> {
        contexts.push(ctx);
        await new Promise((resolve) => ctx.onAbort(resolve));
      }
    }
    const [system, broker] = await started([Orders], { env: { TENON_DRAIN_TIMEOUT_MS: '50' } });
    await send(broker, 'orders');
    await eventually('the event', () => contexts.length === 1);
    expect(contexts[0]?.signal.aborted).toBe(false);
    await system.stop();
    expect(contexts[0]?.signal.reason).toMatchObject({ reason: 'broker.subscription_ended' });
  });
});
