import { mkdtempSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

import { afterAll, afterEach, describe, expect, it } from '@jest/globals';

import { loadProto } from '../../src/codec/proto.ts';
import { Code, Handler, Registry, Rpc, Service, System } from '../../src/index.ts';
import { reflectionName, reflectionProto, reflectionVersions } from '../../src/reflection/reflection.ts';

const folder = mkdtempSync(join(tmpdir(), 'tenon-reflection-'));
afterAll(() => rmSync(folder, { recursive: true }));
function proto(path: string, text: string): URL {
  mkdirSync(join(folder, path, '..'), { recursive: true });
  writeFileSync(join(folder, path), text);
  return pathToFileURL(join(folder, path));
}

proto('x/common.proto', 'syntax = "proto3"; package a; message Shared { string of_a = 1; }');
proto('y/common.proto', 'syntax = "proto3"; package b; message Shared { string of_b = 1; }');
const aProto = proto(
  'x/service.proto',
  `syntax = "proto3"; package a; import "common.proto"; import "google/protobuf/timestamp.proto";
   service A { rpc Do(Request) returns (Shared); }
   message Request { message Deep { enum Side { LEFT = 0; } Side side = 1; } oneof choice { Deep deep = 1; string text = 2; }
     google.protobuf.Timestamp at = 3; map<string, Deep> by_name = 4; }`,
);
const bProto = proto(
  'y/service.proto',
  `syntax = "proto2"; package b; import "common.proto"; service B { rpc Do(Extendable) returns (Shared); }
   message Extendable { extensions 100 to max; } extend Extendable { optional string first = 120; optional int32 second = 110; }`,
);

@Handler('a.A', { proto: aProto })
class AHandler {
  @Rpc() async do(): Promise<object> {
    return {};
  }
}
@Handler('b.B', { proto: bProto })
class BHandler {
  @Rpc() async do(): Promise<object> {
    return {};
  }
}
@Handler('json.Json')
class JsonHandler {
  @Rpc() async hello(): Promise<object> {
    return {};
  }
}
@Service({ name: 'both', handlers: [AHandler, BHandler, JsonHandler], reflection: true })
class Both {}

interface Answer {
  readonly validHost: string;
  readonly originalRequest: object;
  readonly messageResponse: string;
  readonly fileDescriptorResponse?: { readonly fileDescriptorProto: readonly Uint8Array[] };
  readonly allExtensionNumbersResponse?: { readonly baseTypeName: string; readonly extensionNumber: readonly number[] };
  readonly listServicesResponse?: { readonly service: readonly { readonly name: string }[] };
  readonly errorResponse?: { readonly errorCode: number; readonly errorMessage: string };
}
interface ReflectionApi {
  serverReflectionInfo(requests: AsyncIterable<object>): AsyncIterable<Answer>;
}

let system: System | undefined;
afterEach(async () => {
  await system?.stop();
  system = undefined;
});

const descriptorProto = createRequire(import.meta.url).resolve('protobufjs/google/protobuf/descriptor.proto');
const fileType = loadProto(descriptorProto).type('google.protobuf.FileDescriptorProto')!;
interface File {
  readonly name: string;
  readonly dependency: readonly string[];
}
const filesOf = (answer: Answer | undefined): File[] =>
  (answer?.fileDescriptorResponse?.fileDescriptorProto ?? []).map((bytes) => fileType.decode(bytes) as File);

describe.each(reflectionVersions)('reflection %s', (version) => {
  const source = { proto: reflectionProto(version), name: reflectionName(version), service: 'both' };
  const start = async (env: Record<string, string> = {}, service = Both): Promise<System> =>
    (system = await System.start([service], { profile: 'test', env }));
  const ask = async (...questions: object[]): Promise<Answer[]> => {
    const client = (system ?? (await start())).client<ReflectionApi>(source);
    const answers: Answer[] = [];
    const requests = (async function* () {
      yield* questions;
    })();
    for await (const answer of client.serverReflectionInfo(requests)) answers.push(answer);
    return answers;
  };
  const namesFor = async (symbol: string): Promise<string[]> =>
    filesOf((await ask({ fileContainingSymbol: symbol }))[0]).map(({ name }) => name);

  it('lists what has a .proto', async () => {
    const [answer] = await ask({ host: 'here', listServices: '*' });
    expect(answer?.validHost).toBe('here');
    expect(answer?.originalRequest).toMatchObject({ host: 'here', listServices: '*' });
    expect(answer?.listServicesResponse?.service.map(({ name }) => name)).toEqual([
      'a.A',
      'b.B',
      'grpc.health.v1.Health',
      'grpc.reflection.v1.ServerReflection',
      'grpc.reflection.v1alpha.ServerReflection',
    ]);
  });

  it.each([
    'a.A',
    'a.A.Do',
    'a.Request',
    'a.Request.at',
    'a.Request.choice',
    'a.Request.Deep',
    'a.Request.Deep.side',
    'a.Request.Deep.Side',
    'a.Request.Deep.LEFT',
    'a.Request.ByNameEntry',
    '.a.Request',
  ])('finds %s, with what its file imports', async (symbol) => {
    expect(await namesFor(symbol)).toEqual(['service.proto', 'common.proto', 'google/protobuf/timestamp.proto']);
  });

  it('finds well-known types, and the details of errors', async () => {
    expect(await namesFor('google.protobuf.Timestamp')).toEqual(['google/protobuf/timestamp.proto']);
    expect((await namesFor('google.rpc.BadRequest'))[0]).toBe('google/rpc/error_details.proto');
  });

  it('tells files of one name apart, and who imports them', async () => {
    await start();
    const [service, common] = filesOf((await ask({ fileContainingSymbol: 'b.B' }))[0]);
    expect(service).toMatchObject({ name: '2/service.proto', dependency: ['2/common.proto'] });
    expect(common?.name).toBe('2/common.proto');
    const [byName] = await ask({ fileByFilename: '2/common.proto' });
    expect(filesOf(byName)).toMatchObject([{ name: '2/common.proto', package: 'b' }]);
  });

  it('sends nothing twice over one stream but what was asked for', async () => {
    const answers = await ask({ fileContainingSymbol: 'a.A' }, { fileContainingSymbol: 'a.Request' });
    expect(answers.map((answer) => filesOf(answer).length)).toEqual([3, 1]);
  });

  it('finds extensions', async () => {
    const [numbers, none, file] = await ask(
      { allExtensionNumbersOfType: 'b.Extendable' },
      { allExtensionNumbersOfType: 'a.Request' },
      { fileContainingExtension: { containingType: 'b.Extendable', extensionNumber: 110 } },
    );
    expect(numbers?.allExtensionNumbersResponse).toEqual({ baseTypeName: 'b.Extendable', extensionNumber: [110, 120] });
    expect(none?.allExtensionNumbersResponse?.extensionNumber).toEqual([]);
    expect(filesOf(file)[0]?.name).toBe('2/service.proto');
    expect(await namesFor('b.first')).toContain('2/service.proto');
  });

  it('answers NOT_FOUND to what is not there, and goes on', async () => {
    const answers = await ask(
      { fileByFilename: 'nothing.proto' },
      { fileContainingSymbol: 'a.Nothing' },
      { fileContainingExtension: { containingType: 'b.Extendable', extensionNumber: 111 } },
      { allExtensionNumbersOfType: 'a.Nothing' },
      { fileContainingSymbol: 'json.Json' },
      { listServices: '' },
    );
    expect(answers.slice(0, 5).map((answer) => answer.errorResponse?.errorCode)).toEqual(Array(5).fill(Code.NotFound));
    expect(answers[4]?.errorResponse?.errorMessage).toContain('has no .proto');
    expect(answers[5]?.listServicesResponse?.service.length).toBe(5);
  });

  it('refuses a request that asks nothing', async () => {
    await expect(ask({ host: 'here' })).rejects.toMatchObject({ code: Code.InvalidArgument });
  });

  it.each(['memory', 'grpc'])('does not hold up a stop over %s', async (transport) => {
    const served = await start({ TENON_TRANSPORT: transport, TENON_DRAIN_TIMEOUT_MS: '3600000' });
    const requests = (async function* () {
      yield { listServices: '' };
      await new Promise(() => {});
    })();
    const answers = served.client<ReflectionApi>(source).serverReflectionInfo(requests)[Symbol.asyncIterator]();
    await answers.next();
    await served.services[0]!.stop();
    await expect(answers.next()).rejects.toMatchObject({ code: Code.Unavailable });
  });

  it('is served where it is asked for, and is not in the registry', async () => {
    const [record] = await (await start()).get(Registry).getService('both');
    expect(record?.endpoints.map(({ name }) => name)).toEqual(['A.Do', 'B.Do', 'Json.Hello']);
    await system?.stop();
    system = undefined;
    await start({ TENON_REFLECTION: 'false' });
    await expect(ask({ listServices: '' })).rejects.toMatchObject({ code: Code.Unimplemented });
  });
});
