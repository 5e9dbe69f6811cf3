import { describe, expect, it } from '@jest/globals';
import type { StandardSchemaV1 } from '@standard-schema/spec';
import { type } from 'arktype';
import * as v from 'valibot';
import { z } from 'zod';

import { errorOf, statusOf } from '../../src/context/status.ts';
import { BadRequest, findDetail } from '../../src/errors/details.ts';
import { Code, TenonError } from '../../src/errors/errors.ts';
import { Handler, Rpc, Service, Subscribe } from '../../src/decorators/decorators.ts';
import { System } from '../../src/app/app.ts';
import { Broker } from '../../src/broker/broker.ts';
import { fieldPath, validated } from '../../src/pipeline/validation.ts';
import { failureOf } from '../../src/testing/failures.ts';
import { eventually } from '../support/waiting.ts';

interface Order {
  id: string;
  items: { count: number }[];
}

const zodOrder = z.object({ id: z.string().min(1), items: z.array(z.object({ count: z.number().positive() })) });
const valibotOrder = v.object({
  id: v.pipe(v.string(), v.minLength(1)),
  items: v.array(v.object({ count: v.pipe(v.number(), v.gtValue(0)) })),
});
const arktypeOrder = type({ id: 'string > 0', items: type({ count: 'number > 0' }).array() });

@Handler('shop.Orders')
class Orders {
  readonly seen: unknown[] = [];

  @Rpc({ input: zodOrder }) async withZod(order: Order): Promise<Order> {
    return order;
  }
  @Rpc({ input: valibotOrder }) async withValibot(order: Order): Promise<Order> {
    return order;
  }
  @Rpc({ input: arktypeOrder }) async withArktype(order: Order): Promise<Order> {
    return order;
  }
  @Rpc({ input: zodOrder, stream: 'client' }) async withStream(
    orders: AsyncIterable<Order>,
  ): Promise<{ count: number }> {
    for await (const order of orders) this.seen.push(order);
    return { count: this.seen.length };
  }
  @Subscribe('ordered', { schema: zodOrder, deadLetter: true }) onOrdered(order: Order): void {
    this.seen.push(order);
  }
}

@Service({ name: 'shop', handlers: [Orders] })
class Shop {}

const good: Order = { id: 'a', items: [{ count: 1 }] };
const bad: Order = { id: '', items: [{ count: 1 }, { count: -1 }] };

describe('an input that a validator refuses', () => {
  it.each(['withZod', 'withValibot', 'withArktype'] as const)('fails the call with a BadRequest: %s', async (name) => {
    const system = await System.start([Shop], { profile: 'test' });
    const orders = system.client(Orders);
    expect(await orders[name](good)).toEqual(good);
    const failure = await failureOf(orders[name](bad));
    expect(failure).toMatchObject({ code: Code.InvalidArgument, reason: 'call.invalid_input' });
    const violations = findDetail(failure, BadRequest)?.fieldViolations ?? [];
    expect(violations.map(({ field }) => field).sort()).toEqual(['id', 'items[1].count']);
    for (const { field, description } of violations) expect(failure.message).toContain(`${field}: ${description}`);
    await system.stop();
  });

  it('fails a stream with a BadRequest after the valid inputs before it', async () => {
    const system = await System.start([Shop], { profile: 'test' });
    async function* three(): AsyncIterable<Order> {
      yield good;
      yield bad;
      yield good;
    }
    const failure = await failureOf(system.client(Orders).withStream(three()));
    expect(failure.code).toBe(Code.InvalidArgument);
    expect(findDetail(failure, BadRequest)?.fieldViolations).toHaveLength(2);
    expect(system.get(Orders).seen).toEqual([good]);
    await system.stop();
  });

  it('does not reach the handler of an event, and goes to the dead-letter topic', async () => {
    const system = await System.start([Shop], { profile: 'test' });
    const dead: unknown[] = [];
    await system.get(Broker).subscribe('ordered.dead-letter', async (event) => void dead.push(event));
    for (const order of [bad, good]) {
      await system.get(Broker).publish('ordered', { headers: {}, body: Buffer.from(JSON.stringify(order)) });
    }
    await eventually('both are dealt with', () => dead.length === 1 && system.get(Orders).seen.length === 1);
    expect(system.get(Orders).seen).toEqual([good]);
    await system.stop();
  });

  it('makes an error that fits into headers, even with a thousand violations', () => {
    const long = 'ü'.repeat(5000);
    const many = Array.from({ length: 1000 }, (_, index) => ({ message: `${long}\u{1F600}`, path: [long, index] }));
    const refusing: StandardSchemaV1['~standard']['validate'] = () => ({ issues: many });
    try {
      void validated(refusing, 'shop.Orders/X', {});
    } catch (error) {
      const failure = TenonError.from(error);
      expect(failure.message).toMatch(/; and 997 more$/);
      const status = statusOf(failure);
      const details = status.metadata?.get('grpc-status-details-bin') as Uint8Array;
      // Percent-encoded, a letter beyond ASCII takes three times its bytes.
      expect(encodeURI(status.message).length + (details.length * 4) / 3).toBeLessThan(8 * 1024);
      expect(findDetail(errorOf(status), BadRequest)?.fieldViolations.length).toBeGreaterThan(2);
      return;
    }
    throw new Error('it was let through');
  });

  it('is checked without a promise if the validator is synchronous', () => {
    expect(validated((value) => ({ value }), 'x', 1)).toBe(1);
    expect(validated(async (value) => ({ value }), 'x', 1)).toBeInstanceOf(Promise);
  });
});

it.each([
  [['a', 'b'], 'a.b'],
  [['a', 0, 'b'], 'a[0].b'],
  [[0], '[0]'],
  [[{ key: 'a' }, { key: 'b c' }], 'a["b c"]'],
  [[], ''],
  [[Symbol('x')], '["Symbol(x)"]'],
])('fieldPath formats %j as %s', (path, text) => {
  expect(fieldPath(path)).toBe(text);
});
