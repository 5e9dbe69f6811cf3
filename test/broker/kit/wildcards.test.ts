import { describe, expect, test } from '@jest/globals';

import { WireEncoding } from '../../../src/broker/kit/name-encoding.ts';
import { hasWildcard, TopicPattern } from '../../../src/broker/kit/wildcards.ts';
import { collector, text } from '../support.ts';
import { event, stage } from './scripted-driver.ts';

const pattern = (topic: string): TopicPattern => TopicPattern.of(topic)!;

describe('a pattern of topics', () => {
  test.each([
    ['orders.*', 'orders.placed', true],
    ['orders.*', 'orders', false],
    ['orders.*', 'orders.placed.eu', false],
    ['orders.*', 'orders.', false],
    ['orders.*', 'ordersplaced', false],
    ['*', 'orders', true],
    ['*', 'orders.placed', false],
    ['*.placed', 'orders.placed', true],
    ['*.placed', '.placed', false],
    ['orders.*.eu', 'orders.placed.eu', true],
    ['orders.*.eu', 'orders.placed.us', false],
    ['orders.>', 'orders', false],
    ['orders.>', 'orders.placed', true],
    ['orders.>', 'orders.placed.eu.north', true],
    ['orders.>', 'orders.placed..eu', false],
    ['orders.*.>', 'orders.placed', false],
    ['orders.*.>', 'orders.placed.eu', true],
    ['>', 'orders', true],
    ['orders.*', 'orders.dead-letter', false],
    ['orders.>', 'orders.placed.dead-letter', false],
    ['orders.*.dead-letter', 'orders.placed.dead-letter', true],
    ['*.x+(y)', 'a.x+(y)', true],
  ])('%s and the topic %s: %s', (wanted, topic, matches) => {
    expect(pattern(wanted).matches(topic)).toBe(matches);
  });

  test.each(['orders', 'orders.placed', 'orders.a*', 'orders.>b', 'a**b', ''])('is not "%s"', (topic) => {
    expect([hasWildcard(topic), TopicPattern.of(topic)]).toEqual([false, undefined]);
  });

  test.each(['orders.>.placed', 'orders..*', '.*', '*.'])('is not valid as "%s"', (topic) => {
    expect(pattern(topic).isValid).toBe(false);
  });

  test.each([
    ['NATS', { one: '*', rest: '>' }, '.', 'a.*.b?', 'a.*.b?'],
    ['NATS', { one: '*', rest: '>' }, '.', '*.>', '*.>'],
    ['RabbitMQ', { one: '*', rest: '*.#' }, '.', 'a.*.>', 'a.*.*.#'],
    ['MQTT', { one: '+', rest: '+/#' }, '/', 'a.*.>', 'a/+/+/#'],
    ['Redis', { one: '*', rest: '*', escapes: /[\\*?[\]^]/ }, '.', 'a[b]?.c**.>', 'a\\[b\\]\\?.c\\*\\*.*'],
  ])('is written in the wildcards of %s', (_server, rules, separator, wanted, written) => {
    expect(pattern(wanted).write(rules, separator, (word) => word)).toBe(written);
  });

  test('has its other words encoded, and is limited in length', () => {
    const wildcards = { one: '+', rest: '+/#' };
    const topic = { allowed: /[A-Za-z0-9/]/, separator: '/', maxBytes: 20 };
    const encoding = new WireEncoding({ topic });
    expect(encoding.pattern(pattern('a b.*.c+'), wildcards)).toBe('a%20b/+/c%2B');
    expect(encoding.pattern(pattern(`${'a'.repeat(20)}.*`), wildcards)).toBeUndefined();
    expect(encoding.readTopic('a%20b/x/c%2B')).toBe('a b.x.c+');
  });
});

describe('a subscription to a pattern', () => {
  const wildcards = { one: '+', rest: '+/#' };
  const wire = { topic: { allowed: /[A-Za-z0-9/]/, separator: '/' } };

  test('asks the driver for the pattern as the server writes it, and delivers events with their topics', async () => {
    const { broker, driver } = await stage((one) => Object.assign(one, { wildcards, wire }), { wildcards: true });
    const seen = collector();
    await broker.subscribe('a b.>', seen.receive);
    expect(driver.last.request).toMatchObject({ topic: 'a%20b/+/#', isPattern: true });
    driver.last.sink.deliver({ ...event('1'), topic: 'a%20b/c/d' });
    expect(seen.events.map(({ topic }) => topic)).toEqual(['a b.c.d']);
    await broker.subscribe('a b.c', seen.receive);
    expect(driver.last.request).toMatchObject({ topic: 'a%20b/c', isPattern: undefined });
  });

  test('settles what the server matches and the pattern does not, and asks for more', async () => {
    const { broker, driver } = await stage((one) => Object.assign(one, { wildcards }), { wildcards: true });
    let asked = 0;
    driver.receiving = (subscription) => Object.assign(subscription.settling(), { resume: () => void (asked += 1) });
    const seen = collector();
    await broker.subscribe('a.*', seen.receive, { maxInFlight: 1 });
    const before = asked;
    driver.last.sink.deliver({ ...event('1'), topic: 'a.b.c' });
    expect([seen.events, driver.last.log, asked - before]).toEqual([[], ['ack 1'], 1]);
    driver.last.sink.deliver({ ...event('2'), topic: 'a.b' });
    expect(seen.events.map(text)).toEqual(['2']);
  });

  test('is not hurt by a failure to settle them', async () => {
    const { broker, driver, timers } = await stage((one) => Object.assign(one, { wildcards }), { wildcards: true });
    driver.receiving = (subscription) =>
      Object.assign(subscription.settling(), { acking: () => Promise.reject(new Error('gone')) });
    const seen = collector();
    await broker.subscribe('a.*', seen.receive);
    driver.last.sink.deliver({ ...event('1'), topic: 'a.b.c' });
    await timers.settle();
    driver.last.sink.deliver({ ...event('2'), topic: 'a.b' });
    expect(seen.events.map(text)).toEqual(['2']);
  });

  test('cannot send its dead letters to a topic that it matches, nor to a pattern', async () => {
    const { broker } = await stage((one) => Object.assign(one, { wildcards }), { wildcards: true });
    for (const deadLetter of ['a.grave', 'graves.*'])
      await expect(broker.subscribe('a.*', () => {}, { deadLetter })).rejects.toMatchObject({
        reason: 'broker.invalid_options',
      });
    await broker.subscribe('a.*', () => {}, { deadLetter: 'grave' });
  });
});

describe('control headers', () => {
  const wire = { controlHeaders: /^nats-/i };

  test('are refused by publish, and left out of dead letters', async () => {
    const { broker, driver, timers } = await stage((one) => Object.assign(one, { wire }));
    const body = Buffer.from('x');
    await expect(broker.publish('t', { headers: { 'Nats-TTL': '1' }, body })).rejects.toMatchObject({
      reason: 'broker.invalid_headers',
      message: expect.stringContaining('"Nats-TTL"'),
    });
    await broker.publish('t', { headers: { 'x-nats-': '1' }, body });
    await broker.subscribe('t', (one) => one.reject(new Error('no')));
    driver.last.sink.deliver({ ...event('1'), headers: { 'NATS-Expected': '7', kept: 'yes' } });
    await timers.settle();
    expect(driver.batches.at(-1)?.[0]?.topic).toBe('t.dead-letter');
    expect(Object.keys(driver.batches.at(-1)?.[0]?.headers ?? {})).toEqual([
      'kept',
      'tenon-dead-letter-reason',
      'tenon-dead-letter-code',
      'tenon-dead-letter-message',
      'tenon-attempts',
      'tenon-first-failed-at',
      'tenon-last-failed-at',
      'tenon-original-topic',
    ]);
    expect([broker.isControlHeader('Nats-X'), broker.isControlHeader('x')]).toEqual([true, false]);
  });
});
