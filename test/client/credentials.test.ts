import { describe, expect, it } from '@jest/globals';

import { bearerToken, type CallCredentials, type CredentialsCall } from '../../src/client/credentials.ts';
import { ClientOptions } from '../../src/client/client.ts';
import { Code, type Context, Handler, type Interceptor, Rpc, Service, System, TenonError } from '../../src/index.ts';
import { failureOf } from '../../src/testing/failures.ts';
import { GrpcTransport } from '../../src/transport/grpc.ts';
import { Transport } from '../../src/transport/transport.ts';
import { closing } from '../support/closing.ts';
import { authority } from '../support/certificates.ts';

@Handler('door.Door')
class DoorHandler {
  calls = 0;
  @Rpc() async open(_request: object, ctx: Context): Promise<{ shown: string | undefined }> {
    this.calls += 1;
    return { shown: ctx.metadata.text('authorization') };
  }
  @Rpc({ stream: 'server' }) async *watch(
    _request: object,
    ctx: Context,
  ): AsyncIterable<{ shown: string | undefined }> {
    yield { shown: ctx.metadata.text('authorization') };
  }
  @Rpc({ stream: 'client' }) async push(requests: AsyncIterable<object>, ctx: Context): Promise<object> {
    for await (const _ of requests);
    return { shown: ctx.metadata.text('authorization') };
  }
}

@Service({ name: 'door', handlers: [DoorHandler] })
class Door {}

interface Wishes {
  readonly options?: ClientOptions;
  readonly transport?: Transport;
}

async function start({ options = {}, transport }: Wishes = {}): Promise<System> {
  const system = await System.start([Door], {
    profile: 'test',
    env: {},
    bind: (container) => {
      container.rebind(ClientOptions).toConstantValue(options);
      if (transport) container.rebind(Transport).toConstantValue(transport);
    },
  });
  closing.push(() => system.stop());
  return system;
}

const token: CallCredentials = bearerToken('s3cret');

describe('credentials of calls', () => {
  it('go with calls of every kind, of the client or of one call', async () => {
    const door = (await start({ options: { credentials: token } })).client(DoorHandler);
    const shown = { shown: 'Bearer s3cret' };
    expect(await door.open({})).toEqual(shown);
    expect(await door.push([{}])).toEqual(shown);
    for await (const reply of door.watch({})) expect(reply).toEqual(shown);
    expect(await door.open({}, { credentials: bearerToken('other') })).toEqual({ shown: 'Bearer other' });
    expect(await door.open({}, { metadata: { Authorization: 'mine' } })).toEqual(shown);
    expect(await door.open({}, { credentials: false })).toEqual({});
  });

  it('are told whom they are for, and are in the metadata of nobody else', async () => {
    const seen: unknown[] = [];
    const watching: Interceptor = (next) => async (input, ctx) => {
      const reply = await next(input, ctx);
      seen.push(ctx.metadata.toJSON());
      return reply;
    };
    const system = await start({ options: { interceptors: [watching] } });
    const calls: Omit<CredentialsCall, 'signal'>[] = [];
    const credentials: CallCredentials = {
      metadata: async ({ service, method, address, signal }) => {
        calls.push({ service, method, address });
        expect(signal.aborted).toBe(false);
        return { authorization: 'x' };
      },
    };
    await system.client(DoorHandler).open({}, { credentials, metadata: { a: 'b' } });
    const address = system.services[0]?.server().address;
    expect(calls).toEqual([{ service: 'door.Door', method: 'Open', address }]);
    expect(seen).toEqual([{ a: 'b' }]);
  });

  it('are not sent where others can read them, unless they may be', async () => {
    const door = (await start({ transport: new GrpcTransport() })).client(DoorHandler);
    // An address for documentation (RFC 5737): nobody is there.
    const elsewhere = { credentials: token, address: '192.0.2.1:1' };
    for (const call of [
      () => door.open({}, elsewhere),
      () => door.push([{}], elsewhere),
      () => door.watch({}, elsewhere)[Symbol.asyncIterator]().next(),
    ]) {
      const failure = await failureOf(call());
      expect(failure).toMatchObject({ code: Code.Unauthenticated, reason: 'client.insecure_credentials' });
      expect(failure.message).not.toContain('s3cret');
    }
    let asked = 0;
    const metadata = (): object => {
      asked += 1;
      throw new Error('no token');
    };
    const brave = { ...elsewhere, credentials: { metadata, allowInsecure: true } as unknown as CallCredentials };
    expect(await failureOf(door.open({}, brave))).toMatchObject({ reason: 'client.no_credentials' });
    expect(asked).toBe(1);
    const told = await start({ transport: new GrpcTransport(), options: { insecureCredentials: true } });
    const open = { ...brave, credentials: { metadata } as unknown as CallCredentials };
    expect(await failureOf(told.client(DoorHandler).open({}, open))).toMatchObject({ reason: 'client.no_credentials' });
    expect(asked).toBe(2);
  });

  it('are sent to loopback addresses in the clear, which do not leave the machine', async () => {
    const door = (await start({ transport: new GrpcTransport() })).client(DoorHandler);
    expect(await door.open({}, { credentials: token })).toEqual({ shown: 'Bearer s3cret' });
  });

  it.each(['localhost.example:1', '127.0.0.1.example:1', 'a127.0.0.1:1', '128.0.0.1:1', '[fe80::1]:1'])(
    'are not sent to %s, which only looks like this machine',
    async (address) => {
      const door = (await start({ transport: new GrpcTransport() })).client(DoorHandler);
      const failure = await failureOf(door.open({}, { credentials: token, address, timeoutMs: 5_000 }));
      expect(failure).toMatchObject({ code: Code.Unauthenticated, reason: 'client.insecure_credentials' });
    },
  );

  it('are sent over TLS', async () => {
    const ca = authority();
    const { cert, key } = ca.issue({ name: 'door', names: ['127.0.0.1'] });
    const transport = new GrpcTransport({ tls: { ca: ca.cert }, serverTls: { cert, key } });
    const door = (await start({ transport })).client(DoorHandler);
    expect(await door.open({}, { credentials: token })).toEqual({ shown: 'Bearer s3cret' });
  });

  it.each([
    ['an exception', () => new Error('password s3cret is wrong'), Code.Unauthenticated],
    ['an error with a code', () => new TenonError({ code: Code.NotFound, message: 's3cret' }), Code.Unauthenticated],
    [
      'one of a source that is away',
      () => new TenonError({ code: Code.Unavailable, message: 's3cret' }),
      Code.Unavailable,
    ],
  ])('of which the source fails with %s fail the call, and tell nothing', async (_, error, code) => {
    const door = (await start()).client(DoorHandler);
    const failing = (metadata: CallCredentials['metadata']): Promise<TenonError> =>
      failureOf(door.open({}, { credentials: { metadata } }));
    for (const failure of [
      await failing(() => {
        throw error();
      }),
      await failing(async () => {
        throw error();
      }),
    ]) {
      expect(failure).toMatchObject({ code, reason: 'client.no_credentials' });
      expect(failure.message).not.toContain('s3cret');
      expect(failure.message).toContain('door.Door/Open');
    }
    for (let times = 0; times < 10; times += 1) await failing(() => Promise.reject(error()));
    expect(await door.open({})).toEqual({});
  });

  it('that never come end with the deadline, or with the call', async () => {
    const door = (await start()).client(DoorHandler);
    const never: CallCredentials = { metadata: () => new Promise(() => {}) };
    expect(await failureOf(door.open({}, { credentials: never, timeoutMs: 20 }))).toMatchObject({
      code: Code.DeadlineExceeded,
    });
    const controller = new AbortController();
    const call = failureOf(door.open({}, { credentials: never, signal: controller.signal }));
    controller.abort();
    expect(await call).toMatchObject({ code: Code.Cancelled });
  });
});

describe('a bearer token', () => {
  /** A source that gives what it is told, and a clock that stands still. */
  function scene(expiresInMs: number | undefined) {
    let now = 1_000_000;
    let dateMs = now;
    const asked: ((token: string | Error) => void)[] = [];
    const credentials = bearerToken(
      () =>
        new Promise((resolve, reject) => {
          asked.push((given) => {
            if (typeof given !== 'string') reject(given);
            else resolve(expiresInMs === undefined ? given : { value: given, expiresAt: dateMs + expiresInMs });
          });
        }),
      { earlyMs: 1_000, maxAgeMs: 10_000, clock: { now: () => dateMs, monotonicMs: () => now } },
    );
    return {
      asked,
      pass: (ms: number) => [(now += ms), (dateMs += ms)],
      setDate: (byMs: number) => (dateMs += byMs),
      show: async () =>
        credentials.metadata({ service: 's', method: 'm', address: 'a', signal: new AbortController().signal }),
    };
  }

  it('is asked for once by all that need it at the time', async () => {
    const { asked, show } = scene(60_000);
    const shown = [show(), show(), show()];
    asked[0]?.(' t1\n');
    expect(await Promise.all(shown)).toEqual(Array.from({ length: 3 }, () => ({ authorization: 'Bearer t1' })));
    expect(await show()).toEqual({ authorization: 'Bearer t1' });
    expect(asked).toHaveLength(1);
  });

  it('lasts as long as it said when it came, though the date is set back', async () => {
    const { asked, pass, setDate, show } = scene(60_000);
    const first = show();
    asked[0]?.('t1');
    await first;
    setDate(-3_600_000);
    pass(60_000);
    void show();
    expect(asked).toHaveLength(2);
  });

  it.each([[60_000], [undefined]])(
    'is asked for again before it expires (%s), while the old one is shown',
    async (expiresInMs) => {
      const { asked, pass, show } = scene(expiresInMs);
      const first = show();
      asked[0]?.('t1');
      await first;
      const ageMs = expiresInMs ?? 11_000;
      pass(ageMs - 1_001);
      expect(await show()).toEqual({ authorization: 'Bearer t1' });
      expect(asked).toHaveLength(1);
      pass(1);
      expect(await show()).toEqual({ authorization: 'Bearer t1' });
      expect(asked).toHaveLength(2);
      asked[1]?.(new Error('away'));
      await Promise.resolve();
      expect(await show()).toEqual({ authorization: 'Bearer t1' });
      pass(1_000);
      const late = show();
      asked[2]?.('t3');
      expect(await late).toEqual({ authorization: 'Bearer t3' });
      expect(asked).toHaveLength(3);
    },
  );

  it('that could not be had is asked for again by the next call', async () => {
    const { asked, show } = scene(60_000);
    const failing = show();
    asked[0]?.(new Error('away'));
    await expect(failing).rejects.toThrow('away');
    const next = show();
    asked[1]?.('t2');
    expect(await next).toEqual({ authorization: 'Bearer t2' });
  });
});
