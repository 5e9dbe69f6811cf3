import { afterEach, describe, expect, it } from '@jest/globals';
import type { Container } from 'inversify';

import { System } from '../../src/app/system.ts';
import { Broker } from '../../src/broker/broker.ts';
import type { Context } from '../../src/context/context.ts';
import { Handler, Service, Subscribe } from '../../src/index.ts';
import { Logger } from '../../src/logger/logger.ts';
import { eventually } from '../support/waiting.ts';
import { RecordingLogger } from '../../src/testing/recorders.ts';

const systems: System[] = [];
afterEach(async () => {
  await Promise.all(systems.splice(0).map((system) => system.stop()));
});

async function started(handlers: readonly (new () => object)[], options: object = {}): Promise<[System, Broker]> {
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

describe('an event whose handler does not end', () => {
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
