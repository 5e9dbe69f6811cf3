import { describe, expect, it } from '@jest/globals';

import { NatsError, type NatsMessage } from '../../src/nats/nats.ts';
import { systemRuntime } from '../../src/runtime/system.ts';
import { BackendServer, describeWithServer } from '../support/servers.ts';
import { expectNothingUncaught } from '../support/uncaught.ts';
import { eventually } from '../support/waiting.ts';
import { clientOf, info, obliging, RawNats, ScriptedServer } from './support.ts';

expectNothingUncaught();

const patientMs = 20_000;
const { signal } = new AbortController();

/** The error that a call of a client rejects with. */
async function errorOf(call: Promise<unknown>): Promise<NatsError> {
  const error = await call.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(NatsError);
  return error as NatsError;
}

describeWithServer('NatsClient', new BackendServer('nats'), (server) => {
  it('publishes and subscribes, and delivers when the server has it', async () => {
    const client = clientOf([server]);
    const raw = await RawNats.to(server);
    await raw.subscribe('from.tenon');
    const heard: NatsMessage[] = [];
    const subscription = client.subscribe('to.tenon', (message) => heard.push(message));
    await client.deliver([{ subject: 'from.tenon', reply: 'to.tenon', payload: 'ü' }], signal);
    await raw.flush();
    expect(raw.heard).toEqual([{ subject: 'from.tenon', reply: 'to.tenon', text: 'ü' }]);
    await raw.publish('to.tenon', 'yes', 'x');
    await client.deliver([], signal);
    expect(heard.map(({ subject, reply, payload }) => [subject, reply, String(payload)])).toEqual([
      ['to.tenon', 'x', 'yes'],
    ]);
    subscription.unsubscribe();
    subscription.unsubscribe();
    await raw.publish('to.tenon', 'no');
    await client.deliver([], signal);
    expect(heard).toHaveLength(1);
  });

  it('refuses a payload that is larger than the server takes, and goes on', async () => {
    const client = clientOf([server]);
    const error = await errorOf(client.deliver([{ subject: 'a', payload: Buffer.alloc(1_048_577) }], signal));
    expect([error.kind, error.message]).toEqual(['tooLarge', expect.stringContaining('max_payload')]);
    await client.deliver([{ subject: 'a', payload: Buffer.alloc(1_048_576) }], signal);
    expect(client.publish({ subject: 'a', payload: Buffer.alloc(1_048_577) })).toBe(false);
    await client.deliver([], signal);
  });

  it('sends no subjects that are longer than a line of the server, which would end the connection', async () => {
    const client = clientOf([server]);
    await client.deliver([], signal);
    expect(client.publish({ subject: 'a', reply: 'x'.repeat(4_090), payload: '' })).toBe(false);
    const error = await errorOf(client.deliver([{ subject: 'x'.repeat(4_090), payload: '' }], signal));
    expect(error.kind).toBe('tooLarge');
    expect(client.isConnected).toBe(true);
  });

  it('passes over a payload that is larger than it reads', async () => {
    const client = clientOf([server], { maxPayloadBytes: 100 });
    const heard: (string | undefined)[] = [];
    client.subscribe('large', ({ payload }) => heard.push(payload?.toString()));
    await client.deliver(
      [
        { subject: 'large', payload: 'x'.repeat(500_000) },
        { subject: 'large', payload: 'y' },
      ],
      signal,
    );
    expect(heard).toEqual([undefined, 'y']);
  });

  it('says nothing while it is not asked, and connects once for many', async () => {
    const client = clientOf([server]);
    expect([client.isConnected, client.wasConnected, client.publish({ subject: 'a', payload: '' })]).toEqual([
      false,
      false,
      false,
    ]);
    await Promise.all(Array.from({ length: 50 }, () => client.deliver([], signal)));
    expect([client.isConnected, client.wasConnected]).toEqual([true, true]);
    client.close();
    expect((await errorOf(client.deliver([], signal))).message).toBe('the client was closed');
  });

  it('makes its subscriptions again after a loss, and tells', async () => {
    const own = new BackendServer('nats');
    await own.start();
    const told: string[] = [];
    const heard: string[] = [];
    const client = clientOf([own], {
      listener: { onConnected: (isFirst) => told.push(`connected ${isFirst}`), onLost: () => told.push('lost') },
    });
    client.subscribe('again', ({ payload }) => heard.push(String(payload)));
    await client.deliver([], signal);
    await own.restart();
    await eventually('it is connected again', () => client.isConnected && told.length === 3, patientMs);
    const raw = await RawNats.to(own);
    await raw.publish('again', 'yes');
    await client.deliver([], signal);
    expect(heard).toEqual(['yes']);
    expect(told).toEqual(['connected true', 'lost', 'connected false']);
    client.close();
    await own.dispose();
  });

  it('goes to the next address where the first accepts and says nothing', async () => {
    const silent = await new ScriptedServer(() => {}).start();
    const client = clientOf([silent, server], { connectTimeoutMs: 200 });
    await client.deliver([], signal);
    await eventually('no connection is left behind', () => silent.open === 0, patientMs);
  });
});

describe('NatsClient and a server that', () => {
  const refusals: readonly [what: string, server: ScriptedServer, why: RegExp][] = [
    ['is none of NATS', new ScriptedServer((socket) => socket.write('SSH-2.0-x\r\n')), /no server of NATS.*SSH-2\.0/],
    ['sends bytes', new ScriptedServer((socket) => socket.write(Buffer.alloc(200_000, 7))), /no server of NATS/],
    ['closes at once', new ScriptedServer((socket) => socket.end()), /closed the connection in the handshake/],
    ['says INFO and closes', new ScriptedServer((socket) => socket.end(info())), /closed the connection/],
    [
      'wants TLS',
      new ScriptedServer((socket) => socket.write(info({ tls_required: true }))),
      /speaks to nobody without TLS/,
    ],
    [
      'answers what was not asked',
      new ScriptedServer(
        (socket) => socket.write(info()),
        (socket) => socket.write('PONG\r\nPONG\r\n'),
      ),
      /broke the protocol of NATS: it answered a PING that was not sent/,
    ],
    [
      'refuses the credentials',
      new ScriptedServer(
        (socket) => socket.write(info()),
        (socket) => socket.end("-ERR 'Authorization Violation'\r\n"),
      ),
      /Authorization Violation/,
    ],
  ];

  it.each(refusals)('%s: calls say why, and it is tried again with back-off', async (_what, server, why) => {
    await server.start();
    const client = clientOf([server], { connectTimeoutMs: 300 });
    const said = (): Promise<string> => client.deliver([], signal).then(() => 'done', String);
    await eventually('it says why', async () => why.test(await said()), patientMs);
    const before = server.sockets.length;
    for (let call = 0; call < 200; call += 1) client.deliver([], signal).catch(() => {});
    await systemRuntime.timers.sleep(500);
    expect(server.sockets.length - before).toBeLessThan(20);
    client.close();
    await eventually('no connection is left', () => server.open === 0, patientMs);
  });

  it('accepts and says nothing: calls say so, and leave no connection behind', async () => {
    const server = await new ScriptedServer(() => {}).start();
    const client = clientOf([server], { connectTimeoutMs: 100 });
    for (let call = 0; call < 3; call += 1)
      expect((await errorOf(client.deliver([], signal))).message).toMatch(/did not answer the handshake within 100 ms/);
    expect(server.open).toBeLessThanOrEqual(2);
    expect(server.said.join('')).toBe('');
  });

  it('speaks no TLS where TLS is wanted: nothing is said to it', async () => {
    for (const [text, why] of [
      [info(), /speaks no TLS/],
      [`${info({ tls_required: true })}INFO {}\r\n`, /said more than it may before TLS/],
    ] as const) {
      const server = await new ScriptedServer((socket) => socket.write(text)).start();
      const client = clientOf([server], { security: { tls: {}, username: 'user', password: 'secret' } });
      expect((await errorOf(client.deliver([], signal))).message).toMatch(why);
      expect(server.said.join('')).toBe('');
    }
  });

  it('falls silent is left, and calls that wait for it fail', async () => {
    let isSilent = false;
    const server = await new ScriptedServer(
      (socket) => socket.write(info()),
      (socket, text) => void (!isSilent && text.includes('PING') && socket.write('PONG\r\n')),
    ).start();
    const client = clientOf([server], { maxSilenceMs: 200, connectTimeoutMs: 200 });
    await client.deliver([], signal);
    isSilent = true;
    expect((await errorOf(client.deliver([], signal))).message).toMatch(/said nothing for \d+ ms/);
    isSilent = false;
    await eventually('it is connected again', () => client.isConnected, patientMs);
    await client.deliver([], signal);
  });

  it('does not answer: a call ends with its signal, says nothing once that is aborted, and others go on', async () => {
    let isSilent = false;
    const server = await new ScriptedServer(
      (socket) => socket.write(info()),
      (socket, text) => void (!isSilent && text.includes('PING') && socket.write('PONG\r\n')),
    ).start();
    const client = clientOf([server]);
    await client.deliver([], signal);
    isSilent = true;
    const caller = new AbortController();
    const enough = new Error('enough');
    const call = client.deliver([{ subject: 'first', payload: '' }], caller.signal);
    const said = (): string => server.said.join('');
    await eventually('the server has it', () => said().includes('PUB first'), patientMs);
    caller.abort(enough);
    await expect(call).rejects.toBe(enough);
    await expect(client.deliver([{ subject: 'second', payload: '' }], caller.signal)).rejects.toBe(enough);
    isSilent = false;
    // The answer to the PING that nobody waits for any more.
    server.sockets[0]?.write('PONG\r\n');
    await client.deliver([{ subject: 'third', payload: '' }], signal);
    expect(said()).toContain('PUB third');
    expect(said()).not.toContain('PUB second');
    expect(server.sockets).toHaveLength(1);
  });

  it('denies a subject: whoever asked for it hears of that, though others asked before', async () => {
    const server = await new ScriptedServer(
      (socket) => socket.write(info()),
      (socket, text) => {
        for (const [line] of text.matchAll(/^(?:SUB denied|PING).*$/gm))
          socket.write(
            line === 'PING' ? 'PONG\r\n' : '-ERR \'Permissions Violation for Subscription to "denied"\'\r\n',
          );
      },
    ).start();
    const client = clientOf([server]);
    client.subscribe('denied', () => {});
    const other = client.deliver([{ subject: 'allowed', payload: '' }], signal);
    const error = await errorOf(client.deliver([], signal, ['denied']));
    expect([error.kind, error.subject]).toEqual(['denied', 'denied']);
    await other;
  });

  it('refuses a subject or a number of them: only who asked for it hears of that', async () => {
    for (const refusal of ['Permissions Violation for Publish to "x"', 'maximum subscriptions exceeded']) {
      let pings = 0;
      const server = await new ScriptedServer(
        (socket) => socket.write(info()),
        (socket, text) => {
          for (const _ping of text.matchAll(/^PING.*$/gm)) {
            pings += 1;
            socket.write(pings === 2 ? `-ERR '${refusal}'\r\nPONG\r\n` : 'PONG\r\n');
          }
        },
      ).start();
      const client = clientOf([server]);
      const refused = errorOf(client.deliver([{ subject: 'x', payload: '' }], signal));
      const other = client.deliver([{ subject: 'y', payload: '' }], signal, ['x']);
      expect((await refused).message).toContain(refusal.slice(0, 15));
      await other;
    }
  });

  it('sends garbage later ends the connection, and the next one works', async () => {
    const server = await obliging(() => {}).start();
    const client = clientOf([server]);
    await client.deliver([], signal);
    server.sockets[0]?.write('MSG x 1 y\r\n');
    await eventually('there is another connection', () => server.sockets.length === 2 && client.isConnected, patientMs);
    await client.deliver([], signal);
    await eventually('the first is gone', () => server.open === 1, patientMs);
  });

  it('does not read what it is sent gets no more than so much', async () => {
    const server = await obliging((socket) => queueMicrotask(() => socket.pause())).start();
    const client = clientOf([server]);
    client.deliver([], signal).catch(() => {});
    await eventually('it is connected', () => client.isConnected);
    const message = { subject: 'a', payload: Buffer.alloc(1_000_000) };
    let sent = 0;
    while (sent < 200 && client.publish(message)) sent += 1;
    expect(sent).toBeGreaterThan(60);
    expect(sent).toBeLessThan(100);
    expect((await errorOf(client.deliver([message], signal))).message).toMatch(/does not read what it is sent/);
  });

  it('closes each connection soon is tried with back-off', async () => {
    const server = await obliging((socket) => void systemRuntime.timers.after(5, () => socket.destroy())).start();
    const client = clientOf([server]);
    await client.deliver([], signal).catch(() => {});
    await systemRuntime.timers.sleep(1_500);
    expect(server.sockets.length).toBeLessThan(25);
  });
});
