import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it } from '@jest/globals';

import { System } from '../../src/app/system.ts';
import { Broker } from '../../src/broker/broker.ts';
import { ClientOptions } from '../../src/client/client.ts';
import { type Class, Handler, Rpc, Service, Subscribe, UseInterceptor } from '../../src/decorators/decorators.ts';
import { BadRequest, findDetail } from '../../src/errors/details.ts';
import { Code } from '../../src/errors/errors.ts';
import { protovalidate } from '../../src/interceptors/protovalidate.ts';
import type { CallHandler, MethodDescriptor } from '../../src/pipeline/pipeline.ts';
import { loadProto } from '../../src/codec/proto.ts';
import { failureOf } from '../../src/testing/failures.ts';
import { eventually } from '../support/waiting.ts';
import { TestProcess } from '../support/process.ts';

const proto = new URL('../codec/rules.proto', import.meta.url);

interface User {
  name: string;
  nick?: string;
  email: string;
  items?: { count: number }[];
  counts?: Record<string, bigint>;
  phone?: string;
}

const good: User = { name: 'Ada', email: 'ada@example.org', phone: '1' };
const bad: User = {
  name: '',
  email: 'nowhere',
  items: [{ count: 1 }, { count: 0 }],
  counts: { x: 1n },
};

let system: System | undefined;
afterEach(async () => {
  await system?.stop();
  system = undefined;
});

@UseInterceptor(protovalidate())
@Handler('rules.Users', { proto })
class UsersHandler {
  readonly seen: string[] = [];
  @Rpc() async add(user: User): Promise<User> {
    this.seen.push(user.name);
    return user;
  }
  @Rpc() async addAll(users: AsyncIterable<User>): Promise<{ count: number }> {
    let count = 0;
    for await (const user of users) count += this.seen.push(user.name) > 0 ? 1 : 0;
    return { count };
  }
  @Rpc() async anything(free: { name: string }): Promise<{ name: string }> {
    return free;
  }
  @Subscribe('joined', { message: 'rules.User', deadLetter: true }) onJoined(user: User): void {
    this.seen.push(user.name);
  }
}

@Service({ name: 'rules', handlers: [UsersHandler] })
class Users {}

async function started(service: Class = Users): Promise<System> {
  system = await System.start([service], { profile: 'test' });
  return system;
}

describe('protovalidate', () => {
  it('lists every field that breaks a rule of the .proto', async () => {
    const users = (await started()).client(UsersHandler);
    expect(await users.add(good)).toMatchObject({ name: 'Ada' });
    const failure = await failureOf(users.add(bad));
    expect(failure).toMatchObject({ code: Code.InvalidArgument, reason: 'call.invalid_input' });
    const violations = findDetail(failure, BadRequest)?.fieldViolations ?? [];
    expect(violations.map(({ field, reason }) => `${field} ${reason}`)).toEqual(
      expect.arrayContaining([
        'name STRING_MIN_LEN',
        'email EMAIL_AT',
        'items[1].count INT32_GT',
        'counts["x"] STRING_MIN_LEN',
        'contact REQUIRED',
        ' USER_NAMES',
      ]),
    );
    expect(violations.find(({ field }) => field === 'email')?.description).toBe('it needs an "at"');
  });

  it('checks each request of a stream, and the handler gets those before the invalid one', async () => {
    const running = await started();
    async function* three(): AsyncIterable<User> {
      yield good;
      yield bad;
      yield good;
    }
    const failure = await failureOf(running.client(UsersHandler).addAll(three()));
    expect([failure.code, findDetail(failure, BadRequest)?.fieldViolations.length]).toEqual([Code.InvalidArgument, 6]);
    expect(running.get(UsersHandler).seen).toEqual(['Ada']);
  });

  it('checks events', async () => {
    const running = await started();
    const type = loadProto(proto).type('rules.User')!;
    const dead: unknown[] = [];
    await running.get(Broker).subscribe('joined.dead-letter', async (event) => void dead.push(event));
    for (const user of [bad, good]) {
      const headers = { 'Content-Type': 'application/protobuf' };
      await running.get(Broker).publish('joined', { headers, body: type.encode(user) });
    }
    await eventually('both are dealt with', () => dead.length === 1 && running.get(UsersHandler).seen.length === 1);
    expect(running.get(UsersHandler).seen).toEqual(['Ada']);
  });

  it('does not send a request that breaks a rule, on the client', async () => {
    @Handler('rules.Users', { proto })
    class Unguarded {
      calls = 0;
      @Rpc() async add(user: User): Promise<User> {
        this.calls += 1;
        return user;
      }
      @Rpc() async addAll(): Promise<object> {
        return {};
      }
      @Rpc() async anything(): Promise<object> {
        return {};
      }
    }
    @Service({ name: 'rules', handlers: [Unguarded] })
    class Open {}
    system = await System.start([Open], {
      profile: 'test',
      bind: (container) => container.bind(ClientOptions).toConstantValue({ interceptors: [protovalidate()] }),
    });
    const failure = await failureOf(system.client(Unguarded).add(bad));
    expect([failure.code, findDetail(failure, BadRequest)?.fieldViolations.length]).toEqual([Code.InvalidArgument, 6]);
    expect(system.get(Unguarded).calls).toBe(0);
  });

  it('leaves a method whose messages have no rules as it is', () => {
    const next: CallHandler = () => Promise.resolve();
    const methods = loadProto(proto).service('rules.Users')!.methods;
    const around = protovalidate();
    const untouched = (name: string): boolean => {
      const method = methods.find((one) => one.method === name) as MethodDescriptor;
      return around(next, method) === next;
    };
    expect([untouched('Add'), untouched('AddAll'), untouched('Anything')]).toEqual([false, false, true]);
  });

  it('stops the start for rules that do not compile', async () => {
    @Handler('broken.Broken', { proto: new URL('broken-rules.proto', import.meta.url) })
    class BrokenHandler {
      @Rpc() async call(request: object): Promise<object> {
        return request;
      }
    }
    @Service({ name: 'broken', handlers: [BrokenHandler], interceptors: [protovalidate()] })
    class Broken {}
    const failure = await failureOf(System.start([Broken], { profile: 'test' }));
    expect(failure.reason).toBe('codec.proto_invalid');
    expect(failure.message).toMatch(/^the rules of broken\.Thing do not compile: .+ Correct them in its \.proto$/s);
  });

  it('stops the start without its packages, with the command that installs them', async () => {
    const program = fileURLToPath(new URL('programs/without-packages.mjs', import.meta.url));
    const child = new TestProcess(process.execPath, [program]);
    expect(await child.exited).toMatchObject({ code: 0 });
    expect(child.stdout).toContain('FAILED_PRECONDITION app.package_missing');
    expect(child.stdout).toContain('npm install @bufbuild/protobuf @bufbuild/protovalidate');
  });
});
