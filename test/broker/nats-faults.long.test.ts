import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { afterEach, describe, expect, test } from '@jest/globals';

import type { Event } from '../../src/broker/broker.ts';
import type { NatsConnection } from '../../src/broker/nats/library.ts';
import { NatsBroker, type NatsBrokerOptions } from '../../src/broker/nats.ts';
import { Code } from '../../src/errors/errors.ts';
import type { Timers } from '../../src/runtime/runtime.ts';
import { systemRuntime, systemTimers } from '../../src/runtime/system.ts';
import { authority, type Certified } from '../support/certificates.ts';
import { NatsConfig } from '../support/nats-config.ts';
import { BackendServer, describeWithServer, startServer } from '../support/servers.ts';
import { Toxiproxy } from '../support/toxiproxy.ts';
import { expectNothingUncaught } from '../support/uncaught.ts';
import { collector, eventually, publishAtLast, publishText, RecordingLogger, text } from './support.ts';

expectNothingUncaught();

const patienceMs = 60_000;
const closing: (() => unknown)[] = [];

afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

/** The system's timers, twenty times as fast. */
const quickTimers: Timers = {
  after: (delayMs, ...rest) => systemTimers.after(delayMs / 20, ...rest),
  every: (periodMs, ...rest) => systemTimers.every(periodMs / 20, ...rest),
  soon: (callback) => systemTimers.soon(callback),
  sleep: (delayMs, signal) => systemTimers.sleep(delayMs / 20, signal),
};

async function connected(address: string, options: NatsBrokerOptions = {}): Promise<NatsBroker> {
  const broker = new NatsBroker({ address, logger: new RecordingLogger(), ...options });
  closing.push(() => broker.disconnect());
  await broker.connect();
  return broker;
}

async function server(options: ConstructorParameters<typeof BackendServer>[1] = {}): Promise<BackendServer> {
  const started = await startServer('nats', options);
  closing.push(() => started.dispose());
  return started;
}

/** Publishes until the subscriber has the event: what is published while it is away has passed. */
async function reaches(broker: NatsBroker, topic: string, texts: readonly string[], body: string): Promise<void> {
  await eventually(
    `the event "${body}"`,
    async () => {
      await publishAtLast(broker, topic, body);
      return texts.includes(body);
    },
    patienceMs,
  );
}

const away = (broker: NatsBroker): Promise<void> =>
  eventually('it is away', () => broker.status.state === 'away', patienceMs);
const back = (broker: NatsBroker): Promise<void> =>
  eventually('it is back', () => broker.status.state === 'connected', patienceMs);

describeWithServer('NatsBroker over nats', new BackendServer('nats'), (nats) => {
  test('publish to a topic without subscribers succeeds', async () => {
    const broker = await connected(nats.address);
    await publishText(broker, 'nobody', 'x');
  });

  test('reads both dialects, and messages of programs that use neither, whichever it writes', async () => {
    const [native, goMicro] = [await connected(nats.address), await connected(nats.address, { dialect: 'go-micro' })];
    const all = [collector(), collector()];
    await native.subscribe('greeter.events', all[0]!.receive);
    await goMicro.subscribe('greeter.events', all[1]!.receive);
    await publishText(native, 'greeter.events', 'native', { a: 'b' });
    await publishText(goMicro, 'greeter.events', 'go-micro', { a: 'b' });
    const raw = native.unwrap() as NatsConnection;
    raw.publish('greeter.events', '{"Header":{"Micro-Topic":"greeter.events","k":"v"},"Body":"cmF3"}');
    raw.publish('greeter.events', 'plain');
    // It has the form of an envelope, and is none.
    await publishText(native, 'greeter.events', '{"Header":{},"Body":""}');
    for (const { events, texts } of all) {
      await eventually('five events', () => events.length === 5);
      expect(texts).toEqual(['native', 'go-micro', 'raw', 'plain', '{"Header":{},"Body":""}']);
      expect(events.map(({ headers }) => headers)).toEqual([
        { a: 'b' },
        { 'Micro-Topic': 'greeter.events', a: 'b' },
        { 'Micro-Topic': 'greeter.events', k: 'v' },
        {},
        {},
      ]);
    }
  });

  test('writes the envelope without headers of NATS, as Go Micro does', async () => {
    const broker = await connected(nats.address, { dialect: 'go-micro' });
    const raw = broker.unwrap() as NatsConnection;
    const messages: [string, number | undefined][] = [];
    raw.subscribe('a.b', {
      callback: (_error, msg) => messages.push([Buffer.from(msg.data).toString(), msg.headers?.keys().length]),
    });
    await raw.flush();
    await broker.publish('a.b', { headers: { k: 'v' }, body: Buffer.from('raw body é') });
    await eventually('the message', () => messages.length === 1);
    expect(messages).toEqual([['{"Header":{"Micro-Topic":"a.b","k":"v"},"Body":"cmF3IGJvZHkgw6k="}', undefined]]);
  });

  test('other programs read the headers and the body of an event', async () => {
    const broker = await connected(nats.address);
    const raw = broker.unwrap() as NatsConnection;
    const messages: unknown[] = [];
    raw.subscribe('plain', {
      callback: (_error, { data, headers }) =>
        messages.push([Buffer.from(data).toString(), headers?.get('Content-Type'), headers?.get('x')]),
    });
    await raw.flush();
    await publishText(broker, 'plain', 'hello', { 'Content-Type': 'text/plain', x: 'größer' });
    await eventually('the message', () => messages.length === 1);
    expect(messages).toEqual([['hello', 'text/plain', 'größer']]);
  });

  test('a header on which the server would act is refused, and other events of the turn are published', async () => {
    const broker = await connected(nats.address);
    const received = collector();
    await broker.subscribe('traced', received.receive);
    const outcomes = await Promise.allSettled([
      publishText(broker, 'traced', 'before'),
      publishText(broker, 'traced', 'never', { 'Nats-Trace-Only': 'true' }),
      publishText(broker, 'traced', 'after'),
    ]);
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    expect((outcomes[1] as PromiseRejectedResult).reason).toMatchObject({
      code: Code.InvalidArgument,
      reason: 'broker.invalid_headers',
      message: expect.stringContaining('Nats-Trace-Only'),
    });
    await eventually('the others', () => received.texts.length === 2);
    expect(received.texts).toEqual(['before', 'after']);
  });

  test('headers and body together must not exceed max_payload, and the connection stays', async () => {
    const broker = await connected(nats.address);
    const raw = broker.unwrap();
    const publish = (body: number, headers = {}): Promise<void> =>
      broker.publish('large', { headers, body: new Uint8Array(body) });
    await publish(1_048_576);
    await expect(publish(1_048_576, { a: 'b' })).rejects.toMatchObject({
      code: Code.ResourceExhausted,
      reason: 'broker.too_large',
      message: expect.stringMatching(/of 10485\d\d bytes is more than the 1048576/),
    });
    await publish(1_048_000, { a: 'b' });
    expect(broker.unwrap()).toBe(raw);
  });

  test('a topic with the form of a command of the server is only a topic', async () => {
    const broker = await connected(nats.address);
    const received = collector();
    await broker.subscribe('$SYS.REQ.USER.INFO', received.receive);
    await publishText(broker, '$SYS.REQ.USER.INFO', 'x');
    await eventually('the event', () => received.texts.length === 1);
  });

  test('a queue group whose name has blanks is one group', async () => {
    const [one, other] = [await connected(nats.address), await connected(nats.address)];
    const all = collector();
    await one.subscribe('jobs', all.receive, { queue: 'billing workers' });
    await other.subscribe('jobs', all.receive, { queue: 'billing workers' });
    for (let number = 0; number < 20; number += 1) await publishText(one, 'jobs', String(number));
    await publishText(one, 'jobs', 'last');
    await eventually('the last', () => all.texts.includes('last'));
    expect(all.texts).toHaveLength(21);
  });

  test('drops events beyond maxBacklog of a slow subscriber, and logs how many', async () => {
    const logger = new RecordingLogger();
    const [slow, publisher] = [await connected(nats.address, { maxBacklog: 5, logger }), await connected(nats.address)];
    const held: Event[] = [];
    const [received, quick] = [collector(), collector()];
    await slow.subscribe('busy', (event) => void held.push(event), { maxInFlight: 2 });
    await slow.subscribe('busy', quick.receive);
    for (let index = 0; index < 20; index += 1) await publishText(publisher, 'busy', String(index));
    await eventually('all at the quick one', () => quick.texts.length === 20);
    expect(held).toHaveLength(2);
    for (let index = 0; index < held.length; index += 1) {
      await received.receive(held[index] as Event);
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(received.texts).toEqual(['0', '1', '2', '3', '4', '5', '6']);
    expect(logger.lines.filter(({ level }) => level === 'warn').map(({ fields }) => fields)).toEqual([
      { topic: 'busy', maxBacklog: 5 },
      { topic: 'busy', dropped: 13 },
    ]);
  });

  test('unsubscribe handles what the server has sent, and waits for handlers', async () => {
    const broker = await connected(nats.address);
    const handled: string[] = [];
    const subscriber = await broker.subscribe(
      'draining',
      async (event) => {
        await sleep(1);
        handled.push(text(event));
        await event.ack();
      },
      { maxInFlight: 3 },
    );
    const bodies = Array.from({ length: 50 }, (_, number) => String(number));
    // The server has all of them when the last of these has resolved, and has sent them before it hears of the end.
    await Promise.all(bodies.map((body) => publishText(broker, 'draining', body)));
    await subscriber.unsubscribe();
    expect(handled).toEqual(bodies);
  });
});

describe('NatsBroker when nats fails', () => {
  test('every confirmed event was at the server, whenever the connection of its publisher was cut', async () => {
    const [nats, toxiproxy] = [await server(), new Toxiproxy()];
    closing.push(() => toxiproxy.dispose());
    await toxiproxy.start();
    const proxy = await toxiproxy.proxy(nats.address);
    const [publisher, subscriber] = [await connected(proxy.address), await connected(nats.address)];
    const received = new Set<string>();
    await subscriber.subscribe('orders', (event) => (received.add(text(event)), event.ack()), { maxInFlight: 1_000 });
    const confirmed: string[] = [];
    let rejected = 0;
    let isPublishing = true;
    const publishing = Array.from({ length: 20 }, async (_, lane) => {
      for (let number = 0; isPublishing; number += 1) {
        const body = `${lane} ${number} ${'x'.repeat(1_000)}`;
        await publishText(publisher, 'orders', body).then(
          () => confirmed.push(body),
          () => ((rejected += 1), sleep(1)),
        );
      }
    });
    for (let cut = 0; cut < 5; cut += 1) {
      const before = confirmed.length;
      await eventually('some events', () => confirmed.length > before + 200, patienceMs);
      await proxy.cut();
      await away(publisher);
      await proxy.heal();
      await back(publisher);
    }
    isPublishing = false;
    await Promise.all(publishing);
    const missing = (): string[] => confirmed.filter((body) => !received.has(body));
    await eventually('all confirmed events', () => missing().length === 0, patienceMs).catch(() => undefined);
    expect(missing()).toEqual([]);
    expect(rejected).toBeGreaterThan(0);
  }, 180_000);

  test('publishes under way and later ones reject when nats dies, and succeed when it is back', async () => {
    const nats = await server();
    const logger = new RecordingLogger();
    const broker = await connected(nats.address, { logger });
    const received = collector();
    await broker.subscribe('news', received.receive);
    nats.pause();
    // Until all its threads stand still.
    await sleep(100);
    const waiting = Promise.allSettled(['a', 'b'].map((body) => publishText(broker, 'news', body)));
    await sleep(50);
    await nats.kill();
    const unreachable = { code: Code.Unavailable, reason: 'broker.unreachable' };
    for (const outcome of await waiting) expect(outcome).toMatchObject({ status: 'rejected', reason: unreachable });
    await away(broker);
    await expect(publishText(broker, 'news', 'c')).rejects.toMatchObject({
      ...unreachable,
      message: expect.stringContaining(nats.address),
    });
    await expect(broker.subscribe('more', () => {})).rejects.toMatchObject(unreachable);
    await nats.start();
    await back(broker);
    await reaches(broker, 'news', received.texts, 'd');
    expect(received.texts).not.toContain('c');
    const said = logger.lines.filter(({ level }) => level === 'warn' || level === 'info').map(({ message }) => message);
    expect(said).toEqual([
      'the connection to the broker is lost; it is tried again',
      'subscribed again after an outage; what was published meanwhile has passed',
      'the broker answers again',
    ]);
  }, 120_000);

  test('it goes on connecting however often that fails', async () => {
    const nats = await server();
    const runtime = { ...systemRuntime, timers: quickTimers };
    const broker = await connected(nats.address, { runtime, timeoutMs: 60_000 });
    const received = collector();
    await broker.subscribe('news', received.receive);
    await nats.kill();
    let attempts = 0;
    const standIn = createServer((socket) => {
      attempts += 1;
      socket.destroy();
    }).listen(nats.port, '127.0.0.1');
    await once(standIn, 'listening');
    await eventually('more than ten attempts', () => attempts > 12, patienceMs);
    expect(broker.status.state).toBe('away');
    await new Promise((resolve) => standIn.close(resolve));
    await nats.start();
    await back(broker);
    await reaches(broker, 'news', received.texts, 'after all');
  }, 120_000);

  test('a server that hangs is noticed within twice timeoutMs, also by those that only receive', async () => {
    const nats = await server();
    const broker = await connected(nats.address, { timeoutMs: 500 });
    const received = collector();
    await broker.subscribe('news', received.receive);
    nats.pause();
    await expect(publishText(broker, 'news', 'x')).rejects.toMatchObject({
      code: Code.DeadlineExceeded,
      reason: 'broker.timeout',
    });
    await away(broker);
    expect(broker.status.lastError).toMatchObject({ reason: 'broker.unreachable' });
    nats.resume();
    await back(broker);
    await reaches(broker, 'news', received.texts, 'again');
  }, 120_000);

  test('a server that does not read is given up, whatever waits to be written', async () => {
    const nats = await server();
    const broker = await connected(nats.address, { timeoutMs: 500 });
    nats.pause();
    const body = Buffer.alloc(1_000_000);
    const many = Array.from({ length: 30 }, () => broker.publish('large', { headers: {}, body }));
    const outcomes = await Promise.allSettled(many);
    expect(outcomes.every(({ status }) => status === 'rejected')).toBe(true);
    await away(broker);
    nats.resume();
    await back(broker);
    await broker.publish('large', { headers: {}, body });
  }, 120_000);

  test('disconnect ends while nats is away, and while it hangs', async () => {
    const nats = await server();
    const [one, other] = [await connected(nats.address, { timeoutMs: 500 }), await connected(nats.address)];
    await one.subscribe('news', () => {});
    const pulled = other.pull('news')[Symbol.asyncIterator]();
    const pending = pulled.next();
    await sleep(50);
    nats.pause();
    await one.disconnect();
    await nats.kill();
    await away(other);
    await other.disconnect();
    expect(await pending).toEqual({ done: true, value: undefined });
  }, 60_000);

  test('a subscriber that stood still for so long that the server cut it off is there again', async () => {
    const nats = await server({ args: new NatsConfig('write_deadline: "200ms"\nmax_pending: 1MB').args });
    const logger = new RecordingLogger();
    const broker = await connected(nats.address, { logger, maxBacklog: 100 });
    const received = collector();
    await broker.subscribe('flood', received.receive);
    const flood = spawn(process.execPath, [
      '-e',
      `const socket = require('node:net').connect(${nats.port}, '127.0.0.1', () => {
        socket.write('CONNECT {"verbose":false}\\r\\n');
        const body = 'x'.repeat(100000);
        for (let i = 0; i < 300; i += 1) socket.write('PUB flood 100000\\r\\n' + body + '\\r\\n');
        socket.write('PING\\r\\n');
        socket.on('data', (chunk) => String(chunk).includes('PONG') && process.exit());
      });`,
    ]);
    const flooded = once(flood, 'exit');
    // The whole process stands still.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 3_000);
    await flooded;
    await eventually(
      'the loss is said',
      () => logger.lines.some(({ message }) => message.startsWith('the connection to the broker is lost')),
      patienceMs,
    );
    await back(broker);
    await reaches(broker, 'flood', received.texts, 'here again');
  }, 120_000);

  test('with several addresses it goes to one that works', async () => {
    const [first, second] = [await server(), await server()];
    const address = `${first.address},${second.address}`;
    const broker = await connected(address);
    const received = collector();
    await broker.subscribe('news', received.receive);
    const [onFirst, onSecond] = [await connected(first.address), await connected(second.address)];
    await publishText(onFirst, 'news', 'one');
    await eventually('the event', () => received.texts.includes('one'));
    await onFirst.disconnect();
    await first.kill();
    await back(broker);
    await reaches(onSecond, 'news', received.texts, 'two');
    await first.start();
    // Whoever starts now does so at the first that answers.
    await second.kill();
    const late = await connected(`${second.address},${first.address}`);
    await publishText(late, 'news', 'x');
  }, 120_000);
});

const users = (forBilling: string, hidden = 'hidden.>'): string => `
authorization {
  users = [
    { user: admin, password: secret }
    { user: billing, password: ${forBilling}
      permissions: { publish: { deny: "${hidden}" }, subscribe: { deny: "${hidden}" } } }
  ]
}`;

describe('NatsBroker and who may do what', () => {
  const asBilling = { credentials: { username: 'billing', password: 'pass' } };

  test('wrong and missing credentials are refused at once', async () => {
    const nats = await server({ args: new NatsConfig(users('pass')).args });
    for (const credentials of [undefined, { username: 'billing', password: 'wrong' }, { token: 'x' }]) {
      const broker = new NatsBroker({ address: nats.address, logger: new RecordingLogger(), credentials });
      await expect(broker.connect()).rejects.toMatchObject({
        code: Code.Unauthenticated,
        reason: 'broker.refused',
        message: expect.stringMatching(/Authorization Violation.*TENON_BROKER_USERNAME/),
      });
      expect(broker.status.state).toBe('closed');
    }
    await publishText(await connected(nats.address, asBilling), 'news', 'x');
  });

  test('a token is enough where the server asks for one', async () => {
    const nats = await server({ args: ['--auth', 'the-token'] });
    const broker = await connected(nats.address, { credentials: { token: 'the-token' } });
    await publishText(broker, 'news', 'x');
  });

  test('only the events to a topic without the right are refused', async () => {
    const nats = await server({ args: new NatsConfig(users('pass')).args });
    const broker = await connected(nats.address, asBilling);
    const received = collector();
    await broker.subscribe('open', received.receive);
    const outcomes = await Promise.allSettled(
      ['open', 'hidden.a', 'open', 'hidden.b', 'hidden.a'].map((topic) => publishText(broker, topic, topic)),
    );
    const [yes, no] = ['fulfilled', 'rejected'];
    expect(outcomes.map(({ status }) => status)).toEqual([yes, no, yes, no, no]);
    expect((outcomes[1] as PromiseRejectedResult).reason).toMatchObject({
      code: Code.PermissionDenied,
      reason: 'broker.refused',
      message: expect.stringMatching(/Permissions Violation for Publish to "hidden\.a"/),
    });
    await eventually('the others', () => received.texts.length === 2);
    await publishText(broker, 'open', 'later');
  });

  test('a subscription without the right is refused, and others stay', async () => {
    const nats = await server({ args: new NatsConfig(users('pass')).args });
    const broker = await connected(nats.address, asBilling);
    const received = collector();
    await broker.subscribe('open', received.receive);
    await expect(broker.subscribe('hidden.a', () => {})).rejects.toMatchObject({
      code: Code.PermissionDenied,
      reason: 'broker.refused',
    });
    await publishText(broker, 'open', 'x');
    await eventually('the event', () => received.texts.length === 1);
  });

  test('a subscription beyond the limit of the server is refused, and others stay', async () => {
    const nats = await server({ args: new NatsConfig('max_subscriptions: 1').args });
    const broker = await connected(nats.address);
    const received = collector();
    await broker.subscribe('one', received.receive);
    await expect(broker.subscribe('two', () => {})).rejects.toMatchObject({
      code: Code.ResourceExhausted,
      reason: 'broker.refused',
      message: expect.stringMatching(/maximum subscriptions exceeded/i),
    });
    await publishText(broker, 'one', 'x');
    await eventually('the event', () => received.texts.length === 1);
  });

  test('a subscription whose right is taken away ends with that error', async () => {
    const config = new NatsConfig(users('pass'));
    const nats = await server({ args: config.args });
    const broker = await connected(nats.address, asBilling);
    const subscriber = await broker.subscribe('open', () => {});
    config.write(users('pass', 'open'));
    nats.signal('SIGHUP');
    expect(await subscriber.closed).toMatchObject({ code: Code.PermissionDenied, reason: 'broker.refused' });
    await publishText(broker, 'hidden.a', 'x');
  }, 120_000);

  test('credentials that are revoked while it is connected are said, and used again when they are back', async () => {
    const config = new NatsConfig(users('pass'));
    const nats = await server({ args: config.args });
    const logger = new RecordingLogger();
    const broker = await connected(nats.address, { ...asBilling, logger });
    const received = collector();
    await broker.subscribe('open', received.receive);
    config.write(users('other'));
    nats.signal('SIGHUP');
    await eventually('the refusal', () => broker.status.lastError?.code === Code.Unauthenticated, patienceMs);
    expect(broker.status.state).toBe('away');
    config.write(users('pass'));
    nats.signal('SIGHUP');
    await back(broker);
    await reaches(broker, 'open', received.texts, 'x');
    // One outage is one warning, however many attempts it took.
    expect(logger.lines.filter(({ level }) => level === 'warn')).toHaveLength(1);
  }, 120_000);
});

describe('NatsBroker over TLS', () => {
  const folder = mkdtempSync(join(tmpdir(), 'tenon-nats-tls-'));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  const write = (name: string, content: string): string => {
    writeFileSync(join(folder, name), content);
    return join(folder, name);
  };
  const ours = authority('Ours');
  const own = ours.issue({ name: 'nats', names: ['127.0.0.1'] });
  const foreign = ours.issue({ name: 'other', names: ['nats.internal'] });
  const client = ours.issue({ name: 'billing' });
  const caFile = write('ca.crt', ours.cert);
  const pair = (name: string, { cert, key }: Certified) => ({
    certFile: write(`${name}.crt`, cert),
    keyFile: write(`${name}.key`, key),
  });
  const files = { ...pair('own', own), caFile };
  const foreignFiles = { ...pair('foreign', foreign), caFile };
  const clientFiles = pair('client', client);
  const asked = { asksClients: true, probe: clientFiles };

  test('events pass, and the address of the server is verified', async () => {
    const nats = await server({ tls: files });
    const broker = await connected(nats.address, { tls: { caFile } });
    const received = collector();
    await broker.subscribe('news', received.receive);
    await publishText(broker, 'news', 'x');
    await eventually('the event', () => received.texts.length === 1);
    await nats.restart();
    await reaches(broker, 'news', received.texts, 'after a restart');
  }, 120_000);

  test('a server with the certificate of another is not trusted, unless its name is said', async () => {
    const nats = await server({ tls: foreignFiles });
    const broker = new NatsBroker({ address: nats.address, logger: new RecordingLogger(), tls: { caFile } });
    await expect(broker.connect()).rejects.toMatchObject({ reason: 'broker.unreachable' });
    const named = await connected(nats.address, { tls: { caFile, serverName: 'nats.internal' } });
    await publishText(named, 'news', 'x');
  });

  test('an authority that is not trusted is named, and so is a server without TLS', async () => {
    const [secure, plain] = [await server({ tls: files }), await server()];
    const logger = new RecordingLogger();
    const stranger = new NatsBroker({ address: secure.address, logger, tls: {} });
    await expect(stranger.connect()).rejects.toMatchObject({
      reason: 'broker.unreachable',
      message: expect.stringMatching(/TENON_BROKER_TLS_CA_FILE/),
    });
    const without = new NatsBroker({ address: secure.address, logger });
    await expect(without.connect()).rejects.toMatchObject({
      reason: 'broker.unreachable',
      message: expect.stringMatching(/asks for TLS.*TENON_BROKER_TLS/),
    });
    const inTheClear = new NatsBroker({ address: plain.address, logger, tls: { caFile } });
    await expect(inTheClear.connect()).rejects.toMatchObject({
      reason: 'broker.unreachable',
      message: expect.stringMatching(/speaks no TLS/),
    });
  });

  test('a certificate is shown where the server asks for one', async () => {
    const nats = await server({ tls: { ...files, ...asked } });
    await publishText(await connected(nats.address, { tls: { caFile, ...clientFiles } }), 'news', 'x');
    const without = new NatsBroker({ address: nats.address, logger: new RecordingLogger(), tls: { caFile } });
    await expect(without.connect()).rejects.toMatchObject({ reason: 'broker.unreachable' });
  });
});
