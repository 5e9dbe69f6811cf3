import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, it } from '@jest/globals';

import { System } from '../../src/app/system.ts';
import { type Context, contextKey } from '../../src/context/context.ts';
import type { PeerCertificate } from '../../src/context/peer-certificate.ts';
import {
  CatchError,
  type Class,
  Handler,
  Rpc,
  Service,
  UseErrorFilter,
  UseGuard,
  UseInterceptor,
  UsePipe,
} from '../../src/decorators/decorators.ts';
import { Code, TenonError } from '../../src/errors/errors.ts';
import { bearerGuard, certificateGuard, principal } from '../../src/interceptors/authentication.ts';
import type { CallInterceptor, ErrorFilter, Guard } from '../../src/pipeline/enhancers.ts';
import { failureOf } from '../../src/testing/failures.ts';
import { authority } from '../support/certificates.ts';

interface User {
  readonly name: string;
}

const user = contextKey<User>('user');
const digest = (token: string): string => createHash('sha256').update(token).digest('hex');
const users = new Map([[digest('a.secret-token~1=='), { name: 'Ada' }]]);
const secret = 'hunter2-at-10.0.0.7';

let systems: System[] = [];
afterEach(async () => {
  for (const system of systems.splice(0)) await system.stop();
  systems = [];
});

const folder = mkdtempSync(join(tmpdir(), 'tenon-authentication-'));
afterAll(() => rmSync(folder, { recursive: true }));

function file(name: string, text: string): string {
  writeFileSync(join(folder, name), text);
  return join(folder, name);
}

async function started(handler: Class): Promise<System> {
  @Service({ name: 'bank', handlers: [handler] })
  class Bank {}
  const system = await System.start([Bank], { profile: 'test' });
  systems.push(system);
  return system;
}

describe('bearerGuard', () => {
  const verify = {
    sync: (token: string): User | undefined => {
      if (token === 'throw') throw new Error(secret);
      if (token === 'down') throw new TenonError({ code: Code.Unavailable, message: 'later' });
      return users.get(digest(token));
    },
    later: async (token: string): Promise<User | null> => verify.sync(token) ?? null,
  };

  @Handler('bank.Counter')
  class Counter {
    @UseGuard(bearerGuard({ verify: verify.sync, as: user })) @Rpc() async sync(
      _r: object,
      ctx: Context,
    ): Promise<User> {
      return { name: ctx.get(user)?.name ?? '' };
    }
    @UseGuard(bearerGuard({ verify: verify.later })) @Rpc() async later(_r: object, ctx: Context): Promise<User> {
      return { name: (ctx.get(principal) as User).name };
    }
  }

  it.each(['sync', 'later'] as const)(
    'gives the handler the caller, and refuses others without a reason: verify is %s',
    async (name) => {
      const client = (await started(Counter)).client(Counter);
      const call = (authorization?: string): Promise<User> =>
        client[name]({}, authorization === undefined ? {} : { metadata: { authorization } });
      expect(await call('Bearer a.secret-token~1==')).toEqual({ name: 'Ada' });
      expect(await call('bearer  a.secret-token~1==')).toEqual({ name: 'Ada' });
      const none = [undefined, '', 'Bearer', 'Basic a.secret-token~1==', 'Bearer a, Bearer b', 'Bearer ~=x='];
      for (const authorization of none) {
        expect(await failureOf(call(authorization))).toMatchObject({
          code: Code.Unauthenticated,
          reason: 'interceptors.no_token',
        });
      }
      for (const bad of ['Bearer wrong', 'Bearer throw']) {
        const failure = await failureOf(call(bad));
        expect(failure).toMatchObject({
          code: Code.Unauthenticated,
          reason: 'interceptors.invalid_token',
          message: 'the token of the call is not valid',
        });
      }
      expect((await failureOf(call('Bearer down'))).code).toBe(Code.Unavailable);
    },
  );
});

it('awaits the promise of another library, and does not take it for the caller', async () => {
  // What is tried here.
  // oxlint-disable-next-line unicorn/no-thenable
  const none = { then: (resolve: (value: undefined) => void) => resolve(undefined) } as unknown as Promise<undefined>;
  @Handler('bank.Counter')
  class Counter {
    @UseGuard(bearerGuard({ verify: () => none })) @Rpc() async pay(): Promise<object> {
      return {};
    }
    @UseGuard({ activate: () => none as never }) @Rpc() async look(): Promise<object> {
      return {};
    }
  }
  const client = (await started(Counter)).client(Counter);
  const call = { metadata: { authorization: 'Bearer x' } };
  expect((await failureOf(client.pay({}, call))).reason).toBe('interceptors.invalid_token');
  expect((await failureOf(client.look({}, call))).reason).toBe('call.permission_denied');
});

describe('certificateGuard', () => {
  const ours = authority('Ours');
  const workload = contextKey<string>('workload');

  @Handler('bank.Vault')
  class Vault {
    @UseGuard(
      certificateGuard({ verify: ({ uris }) => uris.find((uri) => uri.startsWith('spiffe://ours/')), as: workload }),
    )
    @Rpc()
    async open(_request: object, ctx: Context): Promise<{ name: string | undefined }> {
      return { name: ctx.get(workload) };
    }
    @UseGuard(certificateGuard())
    @Rpc()
    async look(_request: object, ctx: Context): Promise<{ name: string | undefined }> {
      return { name: (ctx.get(principal) as PeerCertificate).commonName };
    }
  }

  /** A system whose client shows this certificate to its server. */
  async function mutual(...names: string[]): Promise<System> {
    const { cert, key } = ours.issue({ name: 'teller', names: ['127.0.0.1', ...names] });
    const env = {
      TENON_LOG_LEVEL: 'silent',
      TENON_TLS_CERT_FILE: file('tls.crt', cert),
      TENON_TLS_KEY_FILE: file('tls.key', key),
      TENON_TLS_CA_FILE: file('ca.crt', ours.cert),
      TENON_TLS_CLIENT_AUTH: 'require',
    };
    @Service({ name: 'bank', handlers: [Vault] })
    class Bank {}
    const system = await System.start([Bank], { profile: 'local', env });
    systems.push(system);
    return system;
  }

  it('gives the handler the caller by the certificate of the connection', async () => {
    const client = (await mutual('spiffe://ours/teller')).client(Vault);
    expect(await client.open({})).toEqual({ name: 'spiffe://ours/teller' });
    expect(await client.look({})).toEqual({ name: 'teller' });
  });

  it('refuses a certificate for which verify gives nobody', async () => {
    const client = (await mutual('spiffe://theirs/teller')).client(Vault);
    expect(await failureOf(client.open({}))).toMatchObject({
      code: Code.PermissionDenied,
      reason: 'interceptors.certificate_refused',
    });
  });

  it('refuses a connection without a certificate', async () => {
    const client = (await started(Vault)).client(Vault);
    expect(await failureOf(client.look({}))).toMatchObject({
      code: Code.Unauthenticated,
      reason: 'interceptors.no_certificate',
    });
  });
});

describe('what callers are told of failures around a handler', () => {
  class Leaky implements Guard, CallInterceptor {
    activate(): boolean {
      throw new Error(secret);
    }
    intercept(): Promise<void> {
      throw new TypeError(secret);
    }
    execute(): never {
      throw new RangeError(secret);
    }
  }
  @CatchError(RangeError)
  class LeakyFilter implements ErrorFilter {
    catch(error: Error): never {
      throw new Error(`${secret} again`, { cause: error });
    }
  }
  @CatchError(RangeError)
  class ReturningFilter implements ErrorFilter {
    catch(error: Error): Error {
      return error;
    }
  }
  @CatchError(RangeError)
  class TellingFilter implements ErrorFilter {
    catch(error: Error): never {
      throw new TenonError({ code: Code.Aborted, message: 'try again', cause: error });
    }
  }
  const leakySchema = {
    '~standard': {
      version: 1 as const,
      vendor: 'test',
      validate: (): never => {
        throw new Error(secret);
      },
    },
  };

  @Handler('bank.Leaks')
  class Leaks {
    @UseGuard(Leaky) @Rpc() async guard(): Promise<object> {
      return {};
    }
    @UseInterceptor(Leaky) @Rpc() async interceptor(): Promise<object> {
      return {};
    }
    @UsePipe(Leaky) @Rpc() async pipe(): Promise<object> {
      return {};
    }
    @UsePipe(leakySchema) @Rpc() async validator(): Promise<object> {
      return {};
    }
    @Rpc({ input: leakySchema }) async input(): Promise<object> {
      return {};
    }
    @UseErrorFilter(LeakyFilter) @UsePipe(Leaky) @Rpc() async filter(): Promise<object> {
      return {};
    }
    @UseErrorFilter(ReturningFilter) @UsePipe(Leaky) @Rpc() async returned(): Promise<object> {
      return {};
    }
    @UseErrorFilter(TellingFilter) @UsePipe(Leaky) @Rpc() async told(): Promise<object> {
      return {};
    }
    @UseGuard(bearerGuard({ verify: () => Promise.reject(new Error(secret)) })) @Rpc() async bearer(): Promise<object> {
      return {};
    }
  }

  it.each(['guard', 'interceptor', 'pipe', 'validator', 'input', 'filter', 'returned', 'told', 'bearer'] as const)(
    'holds no text of theirs, nor a stack: %s',
    async (name) => {
      const env = { TENON_LOG_LEVEL: 'silent' };
      @Service({ name: 'bank', handlers: [Leaks] })
      class Bank {}
      const system = await System.start([Bank], { profile: 'local', env });
      systems.push(system);
      const trailers: unknown[] = [];
      const failure = await failureOf(
        system.client(Leaks)[name](undefined, {
          metadata: { authorization: 'Bearer x' },
          onTrailers: (got) => trailers.push(got.toJSON()),
        }),
      );
      const told = { bearer: 'interceptors.invalid_token', told: undefined }[name as 'told'];
      expect(failure.reason).toBe(name === 'bearer' || name === 'told' ? told : 'server.handler_failed');
      const all = JSON.stringify([failure.message, failure.metadata, failure.details, trailers, String(failure.cause)]);
      expect(all).not.toContain('hunter2');
      expect(all).not.toContain('.ts:');
    },
  );
});
