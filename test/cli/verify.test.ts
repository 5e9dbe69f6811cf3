import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

import { describe, expect, it } from '@jest/globals';

import { run, startNode } from '../support/process.ts';
import { sampleFolder } from '../samples/support.ts';
import { cli, inTemporaryFolder } from './support.ts';

const command = join(import.meta.dirname, '../../dist/cli/tenon.js');
const library = pathToFileURL(join(import.meta.dirname, '../../dist/index.js')).href;

/** Writes a module, as the compiler would leave it, and verifies it with the built command. */
async function verify(
  source: string,
  ...args: string[]
): Promise<{ code: number | null; stdout: string; stderr: string }> {
  return inTemporaryFolder(async (folder) => {
    await writeFile(
      join(folder, 'app.mjs'),
      `import { Handler, Rpc, Service } from ${JSON.stringify(library)};\n${source}`,
    );
    const child = startNode(command, { args: ['verify', 'app.mjs', ...args], cwd: folder });
    const { code } = await child.exited;
    return { code, stdout: child.stdout, stderr: child.stderr };
  });
}

const healthy = `
  class Hello { async greet() { return {}; } }
  Rpc()(Hello.prototype, 'greet', Object.getOwnPropertyDescriptor(Hello.prototype, 'greet'));
  Handler('hello.Hello')(Hello);
  export class Greeter {}
  Service({ name: 'hello', handlers: [Hello] })(Greeter);
`;
const broken = `
  class Hello { async greet() { return {}; } }
  export class Broken {}
  Service({ name: 'broken', handlers: [Hello] })(Broken);
`;

describe('tenon verify', () => {
  it('finds nothing wrong with the samples', async () => {
    for (const [sample, module, names] of [
      ['hello', 'dist/hello.js', 'Hello'],
      ['places', 'dist/app.js', 'Places, Audit'],
      ['environments', 'dist/whereabouts.js', 'WhereaboutsService'],
    ] as const) {
      const child = await run(process.execPath, [command, 'verify', module, '--profile', 'local'], {
        cwd: sampleFolder(sample),
      });
      const [verdict, bindings, options, ...more] = child.stdout.split('\n\n');
      expect([verdict, more]).toEqual([`${names}: no problem found`, []]);
      expect(bindings).toMatch(/^profile +local +the option profile\nTransport +GrpcTransport +profile local\n/);
      expect(options).toMatch(/^ServiceOptions\.address +127\.0\.0\.1:0 +profile local\n/);
    }
  });

  it('prints every problem with its place and its fix, then what is in force, and exits with 1', async () => {
    const { code, stdout, stderr } = await verify(broken, '--profile', 'test');
    expect([code, stderr]).toEqual([1, '']);
    const [verdict, problem, bindings] = stdout.split('\n\n');
    expect([verdict, problem]).toEqual([
      'Broken: one problem found',
      [
        'not-a-handler: Hello',
        '  Hello is listed in handlers, but has no @Handler decorator',
        "  fix: decorate it: @Handler('package.Service') class Hello",
      ].join('\n'),
    ]);
    expect(bindings).toMatch(/^profile +test +the option profile\n/);
  });

  it('prints warnings and notes, and where each binding and each option comes from, without secrets', async () => {
    const result = await verify(`${healthy}
      class Store {}
      export const options = {
        env: {
          TENON_PROFILE: 'test',
          TENON_REGISTRY: 'redis://me:hunter2@10.0.0.1:6379',
          TENON_CLIENT_TIMEOUT_MS: '200',
          TENON_SERVER_ADVERTISE: '10.0.0.${'7'.repeat(60)}:1',
          TENNON_BROKER: 'redis',
        },
        bind: (container) => {
          container.bind(Store).toSelf().inSingletonScope();
          container.bind('token').toConstantValue('hunter2');
        },
      };`);
    expect(result).toMatchObject({ code: 0, stderr: '' });
    expect(result.stdout).toBe(
      [
        'Greeter: no problem found',
        '',
        'warning: misspelt-variable: TENNON_BROKER',
        '  TENNON_BROKER is set, and tenon does not read it. Did you mean "TENON_BROKER"?',
        "  fix: name it TENON_BROKER; or leave it, if it is another program's",
        '',
        'profile                               test                TENON_PROFILE',
        'Transport                             MemoryTransport     profile test',
        'DefaultMarshaler                      ProtoMarshaler      default',
        'Registry                              RedisRegistry       TENON_REGISTRY',
        'Selector                              PeakEwmaSelector    default',
        'Broker                                MemoryBroker        profile test',
        'BackendSummary                        made by a function  default',
        'Client                                RpcClient           default',
        'Clock                                 built in            default',
        'Health                                HealthRegistry      default',
        'LeaseKeeper                           made by a function  default',
        'Logger                                silentLogger        default',
        'Marshaler                             ProtoMarshaler      default',
        'Marshaler                             JsonMarshaler       default',
        'Marshaler                             MsgpackMarshaler    default',
        'Marshaler                             CborMarshaler       default',
        'Marshaler                             BytesMarshaler      default',
        'Random                                built in            default',
        'Server                                RpcServer           default',
        'ServiceRuntime                        ManagedService      default',
        'Timers                                built in            default',
        'Store                                 Store               bind',
        'token                                 a string            bind',
        'Hello                                 Hello               decorators',
        '',
        'ServiceOptions.address                127.0.0.1:0         profile test',
        'ServiceOptions.dialect                grpc                default',
        'ServiceOptions.maxReceiveBytes        4194304             default',
        'ServiceOptions.compress               false               default',
        'ServiceOptions.health                 true                default',
        'ServiceOptions.reflection             false               profile test',
        `ServiceOptions.advertise              10.0.0.${'7'.repeat(60)}:1  TENON_SERVER_ADVERTISE`,
        'ServiceOptions.register               true                default',
        'ServiceOptions.registerTtlMs          30000               default',
        'ServiceOptions.registerWorker         true                default',
        'ServiceOptions.registerBusyAfterMs    1000                default',
        'ServiceOptions.exposeErrors           false               default',
        'ServiceOptions.suggest                false               default',
        'ServiceOptions.drain                  true                default',
        'ServiceOptions.lameDuckMs             0                   profile test',
        'ServiceOptions.drainTimeoutMs         10000               default',
        'ServiceOptions.stopTimeoutMs          5000                default',
        'ServiceOptions.healthFollowsRegistry  true                default',
        'ServiceOptions.healthFollowsBroker    true                default',
        'ServiceOptions.healthFollowsOutages   false               default',
        'ServiceOptions.requireBackends        false               default',
        'Greeter.name                          hello               @Service',
        'Greeter.version                       latest              default',
        'RedisRegistryOptions.address          ***@10.0.0.1:6379   TENON_REGISTRY',
        'MessageLimits.maxElements             1048576             default',
        'ClientOptions.dialect                 grpc                default',
        'ClientOptions.timeoutMs               200                 TENON_CLIENT_TIMEOUT_MS',
        'ClientOptions.maxReceiveBytes         4194304             default',
        'ClientOptions.compress                false               default',
        'ClientOptions.insecureCredentials     false               default',
        'Logger.level                          silent              profile test',
        'Logger.format                         text                profile test',
        '',
      ].join('\n'),
    );
  });

  it('takes one export, or a list of classes', async () => {
    const both = `${healthy}{${broken.replace('export class Broken', 'globalThis.Broken = class Broken')}}\nexport const all = [Greeter, globalThis.Broken];`;
    const { code, stdout, stderr } = await verify(both, '--profile', 'test', '--export', 'Greeter');
    expect([code, stderr, stdout.split('\n')[0]]).toEqual([0, '', 'Greeter: no problem found']);
    expect(await verify(both, '--profile', 'test', '--export', 'all')).toMatchObject({ code: 1 });
  });

  it('checks with the options that the module exports', async () => {
    const result = await verify(`${healthy}export const options = { env: { TENON_BROKER: 'rediss' } };`);
    expect(result).toMatchObject({ code: 1, stderr: '' });
    expect(result.stdout).toContain('TENON_BROKER');
  });

  it('ends although the module left something open', async () => {
    const result = await verify(`${healthy}setInterval(() => {}, 1_000);`, '--profile', 'test');
    expect(result).toMatchObject({ code: 0 });
  });

  it.each([
    ['export const x = 1;', [], 'app.mjs exports no class with @Service: name the module that does'],
    [healthy, ['--export', 'Greter'], 'app.mjs exports no "Greter". Did you mean "Greeter"?'],
    ['export const x = 1;', ['--export', 'x'], '"x" of app.mjs is neither a class with @Service nor a list of them'],
  ])('says what is wrong with how it was called (%#)', async (source, args, message) => {
    expect(await verify(source, ...args)).toEqual({ code: 2, stdout: '', stderr: `tenon: ${message}\n` });
  });

  it('names a module that is not there, or not compiled', async () => {
    expect(await cli(['verify', 'dist/nothing.js'])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('there is no file dist/nothing.js'),
    });
    expect(await cli(['verify', 'src/index.ts'])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('src/index.ts is TypeScript'),
    });
  });

  it('shows where a module that throws came from', async () => {
    const result = await verify(`throw new Error('not today');`);
    expect(result).toMatchObject({ code: 1, stdout: '' });
    expect(result.stderr).toMatch(/^tenon: not today\n[^]*app\.mjs:2/);
  });
});

describe('tenon env', () => {
  it('prints what .env.example holds', async () => {
    const { code, stdout } = await cli(['env']);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^# TENON_REGISTRY=/m);
    expect(stdout.endsWith('\n')).toBe(true);
  });
});
