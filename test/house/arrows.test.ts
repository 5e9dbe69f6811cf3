import { isBuiltin } from 'node:module';

import { describe, expect, test } from '@jest/globals';

import { backendRows } from '../../src/app/internal/backend-table.ts';
import {
  manifest,
  packageOf,
  page,
  resolveImport,
  roomOf,
  type SourceFile,
  sourceFile,
  sourcesBelow,
  tableRows,
} from './source.ts';

/** A row of the table in `docs/architecture.md`, and what it means. */
interface Row {
  readonly room: string;
  /** The cells as the page has them. */
  readonly mayImport: string;
  readonly thirdParties: string;
  /** The rooms it says: `*` is every one. */
  readonly rooms: readonly string[];
}

const low = ['internal', 'runtime', 'errors', 'go-micro', 'logger', 'context', 'tls'];
const contracts = [
  'pipeline',
  'codec',
  'transport',
  'registry',
  'selector',
  'store',
  'broker',
  'outbox',
  'client',
  'server',
  'service',
];

/** Rooms of wire protocols. Each is for the backends of its name. */
const wires = ['dns', 'mdns', 'etcd', 'consul', 'zookeeper', 'nats', 'kubernetes', 'rabbitmq', 'kafka', 'mqtt'];
const ofWires = 'the room of its wire in a backend';

// A new arrow is a design decision: it changes this table and the one in docs/architecture.md together.
const table: readonly Row[] = [
  { room: 'internal', mayImport: '–', thirdParties: '–', rooms: [] },
  { room: 'runtime', mayImport: 'internal', thirdParties: '–', rooms: ['internal'] },
  { room: 'errors', mayImport: 'internal', thirdParties: '–', rooms: ['internal'] },
  { room: 'go-micro', mayImport: 'errors, internal', thirdParties: '–', rooms: ['errors', 'internal'] },
  {
    room: 'logger',
    mayImport: 'errors, runtime, internal',
    thirdParties: '–',
    rooms: ['errors', 'runtime', 'internal'],
  },
  {
    room: 'context',
    mayImport: 'logger, go-micro, errors, runtime, internal',
    thirdParties: '–',
    rooms: ['logger', 'go-micro', 'errors', 'runtime', 'internal'],
  },
  {
    room: 'tls',
    mayImport: 'logger, errors, runtime, internal',
    thirdParties: '–',
    rooms: ['logger', 'errors', 'runtime', 'internal'],
  },
  { room: 'pipeline', mayImport: 'the low rooms', thirdParties: '–', rooms: low },
  { room: 'store', mayImport: 'the low rooms', thirdParties: 'one per backend', rooms: low },
  {
    room: 'codec',
    mayImport: 'pipeline, the low rooms',
    thirdParties: 'one per backend',
    rooms: ['pipeline', ...low],
  },
  {
    room: 'transport',
    mayImport: `pipeline, the low rooms; ${ofWires}`,
    thirdParties: 'one per backend',
    rooms: ['pipeline', ...low],
  },
  { room: 'dns', mayImport: 'the low rooms', thirdParties: 'dns-packet', rooms: low },
  { room: 'kubernetes', mayImport: 'the low rooms', thirdParties: 'yaml in `kubeconfig.ts`', rooms: low },
  { room: 'mdns', mayImport: 'the low rooms', thirdParties: 'dns-packet', rooms: low },
  { room: 'etcd', mayImport: 'the low rooms', thirdParties: '–', rooms: low },
  { room: 'consul', mayImport: 'the low rooms', thirdParties: '–', rooms: low },
  { room: 'zookeeper', mayImport: 'the low rooms', thirdParties: '–', rooms: low },
  { room: 'nats', mayImport: 'the low rooms', thirdParties: '–', rooms: low },
  { room: 'rabbitmq', mayImport: 'the low rooms', thirdParties: 'amqplib', rooms: low },
  {
    room: 'kafka',
    mayImport: 'the low rooms',
    thirdParties: '@platformatic/kafka and kafkajs, each in the file of its name',
    rooms: low,
  },
  { room: 'mqtt', mayImport: 'the low rooms', thirdParties: 'mqtt', rooms: low },
  {
    room: 'registry',
    mayImport: `the low rooms; codec, transport and pipeline in \`kit/grpc-channel.ts\`; ${ofWires}`,
    thirdParties: 'one per backend',
    rooms: low,
  },
  {
    room: 'broker',
    mayImport: `codec, store, pipeline, the low rooms; ${ofWires}`,
    thirdParties: 'one per backend',
    rooms: ['codec', 'store', 'pipeline', ...low],
  },
  { room: 'outbox', mayImport: 'broker, the low rooms', thirdParties: '–', rooms: ['broker', ...low] },
  { room: 'selector', mayImport: 'registry, the low rooms', thirdParties: '–', rooms: ['registry', ...low] },
  {
    room: 'interceptors',
    mayImport: 'pipeline, the low rooms',
    thirdParties: '@bufbuild/protobuf and protovalidate in `protovalidate.ts`',
    rooms: ['pipeline', ...low],
  },
  {
    room: 'client',
    mayImport: 'codec, transport, registry, selector, broker, interceptors, pipeline, the low rooms',
    thirdParties: '–',
    rooms: ['codec', 'transport', 'registry', 'selector', 'broker', 'interceptors', 'pipeline', ...low],
  },
  {
    room: 'server',
    mayImport: 'codec, transport, registry, broker, store, pipeline, the low rooms',
    thirdParties: '–',
    rooms: ['codec', 'transport', 'registry', 'broker', 'store', 'pipeline', ...low],
  },
  {
    room: 'service',
    mayImport: 'client, server, registry, broker, the low rooms',
    thirdParties: '–',
    rooms: ['client', 'server', 'registry', 'broker', ...low],
  },
  ...['health', 'reflection'].map((room) => ({
    room,
    mayImport: 'service, server, pipeline, the low rooms',
    thirdParties: '–',
    rooms: ['service', 'server', 'pipeline', ...low],
  })),
  {
    room: 'decorators',
    mayImport: 'pipeline, errors, server, broker, context',
    thirdParties: 'reflect-metadata in `metadata.ts`',
    rooms: ['pipeline', 'errors', 'server', 'broker', 'context'],
  },
  { room: 'app', mayImport: 'everything', thirdParties: "inversify's container", rooms: ['*'] },
  {
    room: 'cli',
    mayImport: 'app and the contracts',
    thirdParties: 'commander, @clack/prompts',
    rooms: ['app', 'decorators', ...contracts, ...low],
  },
  {
    room: 'testing',
    mayImport: 'the contracts, memory backends, the low rooms',
    thirdParties: '–',
    rooms: [...contracts, ...low],
  },
];

/**
 * The files of the backends that speak through a package: the one of their name, its folder, and what their room has
 * inside.
 */
function filesThrough(name: string): RegExp {
  const files = Object.entries(backendRows).flatMap(([room, rows]) =>
    rows
      .filter((row) => row.package === name || row.optionalPackage === name)
      .map((row) => `src/${room}/(?:internal/.*|${row.name}(?:/.*)?)\\.ts`),
  );
  return new RegExp(`^(?:${files.join('|')})$`);
}

const ofBackends = Object.values(backendRows)
  .flat()
  .flatMap((row) => [row.package, row.optionalPackage])
  .filter((name) => name !== undefined);

/** Which files may import a package. What is not here nobody may. */
const thirdParties: Readonly<Record<string, RegExp>> = {
  // Its pool is given to the outbox.
  pg: /^src\/outbox\//,
  ...Object.fromEntries(ofBackends.map((name) => [name, filesThrough(name)])),
  ioredis: new RegExp(`${filesThrough('ioredis').source}|^src/store/redis\\.ts$`),
  yaml: new RegExp(`${filesThrough('yaml').source}|^src/kubernetes/kubeconfig\\.ts$`),
  amqplib: new RegExp(`${filesThrough('amqplib').source}|^src/rabbitmq/`),
  // Optional, and loaded when a method has rules.
  '@bufbuild/protobuf': /^src\/interceptors\/protovalidate\.ts$/,
  '@bufbuild/protovalidate': /^src\/interceptors\/protovalidate\.ts$/,
  '@platformatic/kafka': /^src\/kafka\/platformatic\.ts$/,
  kafkajs: /^src\/kafka\/kafkajs\.ts$/,
  'dns-packet': /^src\/m?dns\//,
  mqtt: /^src\/mqtt\//,
  'reflect-metadata': /^src\/decorators\/metadata\.ts$/,
  commander: /^src\/cli\//,
  '@clack/prompts': /^src\/cli\//,
  '@inversifyjs/plugin': /^src\/app\//,
  '@inversifyjs/core': /^src\/app\//,
  inversify: /^src\//,
  // An interface and nothing else.
  '@standard-schema/spec': /^src\//,
};

/** Packages from which only types may be imported. */
const typesOnlyPackages = ['@standard-schema/spec', '@bufbuild/protobuf', '@bufbuild/protovalidate'];

/** The memory backends: what works within one process and needs no library. */
const inMemory = /^src\/(?:\w+\/memory|codec\/(?:json|bytes)|selector\/(?:random|round-robin))\.ts$/;

/** Files that complete a contract: other rooms may import them as they may the contract. */
const completing = [
  'codec/content-type.ts',
  'codec/marshaler-table.ts',
  'broker/cloud-events.ts',
  'broker/delivery.ts',
  'broker/redrive.ts',
  'broker/kit/capabilities.ts',
  'interceptors/service-config.ts',
];

/** What a single file may import besides. */
const besides: Readonly<Record<string, readonly string[]>> = {
  'src/registry/kit/grpc-channel.ts': [
    'src/codec/proto.ts',
    'src/pipeline/pipeline.ts',
    'src/transport/grpc.ts',
    'src/transport/transport.ts',
  ],
};

/** True if a file of a backend imports the room of its wire. */
function isOwnWire(path: string, room: string): boolean {
  return wires.includes(room) && new RegExp(`^src/(?:registry|broker|transport)/${room}(?:/.*)?\\.ts$`).test(path);
}

/** Rooms whose files may all be imported, except those of `internal/`. */
const open = [...low, 'pipeline'];

/** Rooms of which only the types may be imported. */
const typesOnly: Readonly<Record<string, readonly string[]>> = { decorators: ['server', 'broker', 'context'] };

function arrowsOf(file: SourceFile): string[] {
  const problems: string[] = [];
  const room = roomOf(file.path);
  const row = table.find((one) => one.room === room);
  if (!row && room !== 'index') return [`${file.path}: the room ${room} is not in the table of arrows`];

  for (const found of file.imports) {
    const where = `${file.path}:${found.line}`;
    const target = resolveImport(file.path, found.specifier);
    if (target === undefined) {
      problems.push(...packageProblem(room, where, found.specifier, found.names, found.typeOnly, file.path));
      continue;
    }
    const other = roomOf(target);
    if (other === room || besides[file.path]?.includes(target) || isOwnWire(file.path, other)) continue;
    if (other === 'index' || !target.startsWith('src/')) {
      problems.push(`${where}: imports ${found.specifier}, which is no room`);
      continue;
    }
    const isInternal = target.startsWith(`src/${other}/internal/`);
    const isContract = target === `src/${other}/${other}.ts` || completing.includes(target.slice('src/'.length));
    const isOpen = low.includes(other) || (open.includes(other) && !isInternal);
    const isMemory = inMemory.test(target);
    // The command is a part of the composition: it may look into app, which itself holds no implementation.
    const isOfApp = room === 'cli' && other === 'app';
    if (room === 'index') {
      if (isInternal) problems.push(`${where}: ${target} is not exported`);
      continue;
    }
    if (!row!.rooms.includes('*') && !row!.rooms.includes(other)) {
      problems.push(`${where}: ${room} may not import ${other} (it may: ${row!.mayImport})`);
    } else if (!row!.rooms.includes('*') && !isContract && !isOpen && !isOfApp && !(room === 'testing' && isMemory)) {
      problems.push(`${where}: of another room only its contract, src/${other}/${other}.ts, may be imported`);
    } else if (typesOnly[room]?.includes(other) && !found.typeOnly) {
      problems.push(`${where}: ${room} may import types of ${other} only`);
    }
  }
  return problems;
}

function packageProblem(
  room: string,
  where: string,
  specifier: string,
  names: readonly string[],
  typeOnly: boolean,
  path: string,
): string[] {
  if (isBuiltin(specifier)) {
    return specifier.startsWith('node:') ? [] : [`${where}: say node:${specifier}`];
  }
  const name = packageOf(specifier);
  const allowed = thirdParties[name];
  if (!allowed) return [`${where}: nothing may import ${name}`];
  if (!allowed.test(path)) return [`${where}: ${name} may not be imported here`];
  if (typesOnlyPackages.includes(name) && !typeOnly) return [`${where}: ${name} has types only`];
  const container = names.filter((one) => one === 'Container' || one === 'ContainerModule');
  if (name === 'inversify' && container.length > 0 && room !== 'app') {
    return [`${where}: ${container.join(' and ')} may be used in app only`];
  }
  return [];
}

/** What is loaded at once with a file: packages, with the way to them. */
function loadedWith(start: string, files: ReadonlyMap<string, SourceFile>): Map<string, string> {
  const packages = new Map<string, string>();
  const seen = new Set<string>();
  const visit = (path: string, way: string): void => {
    const file = files.get(path);
    if (!file || seen.has(path)) return;
    seen.add(path);
    for (const found of file.imports) {
      if (found.typeOnly || found.dynamic || found.specifier.startsWith('node:')) continue;
      const target = resolveImport(path, found.specifier);
      if (target !== undefined) visit(target, `${way} → ${target}`);
      else packages.set(packageOf(found.specifier), way);
    }
  };
  visit(start, start);
  return packages;
}

const loadedByDoors = ['inversify', '@inversifyjs/core', '@inversifyjs/plugin', 'reflect-metadata'];

function doorProblems(files: readonly SourceFile[]): string[] {
  const byPath = new Map(files.map((file) => [file.path, file]));
  const doors = files.filter(
    ({ path }) =>
      path === 'src/index.ts' || (path === `src/${roomOf(path)}/${roomOf(path)}.ts` && !wires.includes(roomOf(path))),
  );
  return doors.flatMap((door) =>
    [...loadedWith(door.path, byPath)]
      .filter(([name]) => !loadedByDoors.includes(name))
      .map(([name, way]) => `importing ${door.path} loads ${name}: ${way}`),
  );
}

const files = sourcesBelow('src');

describe('arrows', () => {
  test('no room imports what the table does not allow', () => {
    expect(files.length).toBeGreaterThan(0);
    expect(files.flatMap(arrowsOf)).toEqual([]);
  });

  test('docs/architecture.md has the same table', () => {
    const rows = tableRows(page('docs/architecture.md')).map((cells) => cells.join(' | '));
    const start = rows.findIndex((row) => /^room \| may import.* \| third parties$/.test(row));
    expect(start).toBeGreaterThanOrEqual(0);
    const expected = table.map((row) => [row.room, row.mayImport, row.thirdParties].join(' | '));
    expect(rows.slice(start + 2, start + 2 + expected.length)).toEqual(expected);
  });

  test('docs/architecture.md names the files that complete a contract', () => {
    const [, sentence = ''] =
      /So may the files that complete a contract:\s([^]*?)\.\s+(?=[A-Z`])/.exec(page('docs/architecture.md')) ?? [];
    expect([...sentence.matchAll(/`([^`]+)`/g)].map((match) => match[1])).toEqual(completing);
    expect(completing.filter((path) => !files.some((file) => file.path === `src/${path}`))).toEqual([]);
  });

  test('every package that is imported is declared, and allowed somewhere', () => {
    const { dependencies, peerDependencies } = manifest();
    const declared = Object.keys({ ...dependencies, ...peerDependencies });
    const imported = files.flatMap((file) =>
      file.imports
        .map((found) => found.specifier)
        .filter((specifier) => !specifier.startsWith('.') && !isBuiltin(specifier))
        .map(packageOf),
    );
    expect([...new Set(imported)].filter((name) => !declared.includes(name))).toEqual([]);
    expect(declared.filter((name) => !Object.hasOwn(thirdParties, name))).toEqual([]);
  });

  test.each([
    ['src/registry/redis.ts', "import { x } from '../transport/transport.ts';", 'registry may not import transport'],
    ['src/registry/redis.ts', "import type { X } from '../client/client.ts';", 'registry may not import client'],
    ['src/registry/etcd.ts', "import { X } from '../transport/grpc.ts';", 'registry may not import transport'],
    ['src/registry/kit/x.ts', "import { x } from '../../codec/proto.ts';", 'registry may not import codec'],
    ['src/registry/kit/grpc-channel.ts', "import { X } from '../../transport/tcp.ts';", 'may not import transport'],
    ['src/registry/kit/grpc-channel.ts', "import { X } from '../../client/client.ts';", 'may not import client'],
    ['src/client/x.ts', "import { X } from '../registry/memory.ts';", 'only its contract'],
    ['src/client/x.ts', "const x = await import('../registry/internal/y.ts');", 'only its contract'],
    ['src/service/x.ts', "import { Redis } from 'ioredis';", 'ioredis may not be imported here'],
    ['src/registry/x.ts', "import lodash from 'lodash';", 'nothing may import lodash'],
    ['src/server/x.ts', "import { injectable, Container } from 'inversify';", 'Container may be used in app only'],
    ['src/server/x.ts', "import type { ContainerModule } from 'inversify';", 'ContainerModule may be used in app only'],
    ['src/decorators/x.ts', "import { Server } from '../server/server.ts';", 'types of server only'],
    ['src/pipeline/x.ts', "import { y } from '@standard-schema/spec';", 'has types only'],
    ['src/registry/mdns.ts', "import type { Packet } from 'dns-packet';", 'dns-packet may not be imported here'],
    ['src/mdns/x.ts', "import { X } from '../registry/registry.ts';", 'mdns may not import registry'],
    ['src/registry/redis.ts', "import { X } from '../mdns/mdns.ts';", 'registry may not import mdns'],
    ['src/registry/x.ts', "import { readFile } from 'fs';", 'say node:fs'],
    ['src/registry/x.ts', "import { Tenon } from '../index.ts';", 'is no room'],
    ['src/index.ts', "export { x } from './client/internal/x.ts';", 'is not exported'],
    ['src/kitchen/kitchen.ts', '', 'the room kitchen is not in the table'],
    ['src/testing/x.ts', "import { X } from '../registry/redis.ts';", 'only its contract'],
    ['src/client/x.ts', "import { x } from '../pipeline/internal/replies.ts';", 'only its contract'],
    ['src/server/x.ts', "import { x } from '../broker/kit/driver.ts';", 'only its contract'],
  ])('%s with "%s" is refused', (path, text, message) => {
    expect(arrowsOf(sourceFile(path, text))).toEqual([expect.stringContaining(message)]);
  });

  test.each([
    ['src/client/x.ts', "import { Registry } from '../registry/registry.ts';"],
    ['src/client/x.ts', "import { Metadata } from '../context/metadata.ts';"],
    ['src/client/x.ts', "import { compose } from '../pipeline/compose.ts';"],
    ['src/server/x.ts', "import { deliver } from '../broker/delivery.ts';"],
    ['src/client/x.ts', "import { inject } from 'inversify';"],
    ['src/registry/kit/grpc-channel.ts', "import { loadProto } from '../../codec/proto.ts';"],
    ['src/registry/kit/grpc-channel.ts', "import { GrpcTransport } from '../../transport/grpc.ts';"],
    ['src/registry/mdns.ts', "import { MulticastDns } from '../mdns/mdns.ts';"],
    ['src/mdns/x.ts', "import { encode } from 'dns-packet';"],
    ['src/registry/mdns/x.ts', "import { UnfitNode } from '../../mdns/records.ts';"],
    ['src/broker/redis-streams.ts', "import type { Redis } from 'ioredis';"],
    ['src/app/x.ts', "const { Redis } = await import('../registry/redis.ts');"],
    ['src/app/x.ts', "import { Container } from 'inversify';"],
    ['src/testing/x.ts', "import { X } from '../registry/memory.ts';"],
    ['src/testing/x.ts', "import { X } from '../selector/round-robin.ts';"],
    ['src/decorators/x.ts', "import type { Server } from '../server/server.ts';"],
  ])('%s with "%s" is allowed', (path, text) => {
    expect(arrowsOf(sourceFile(path, text))).toEqual([]);
  });
});

describe('doors', () => {
  test('importing the package or a contract loads no backend', () => {
    expect(doorProblems(files)).toEqual([]);
  });

  test('a door that reaches a library is refused, with the way to it', () => {
    expect(
      doorProblems([
        sourceFile('src/index.ts', "export { RedisRegistry } from './registry/redis.ts';"),
        sourceFile('src/registry/redis.ts', "import { Redis } from 'ioredis';"),
      ]),
    ).toEqual(['importing src/index.ts loads ioredis: src/index.ts → src/registry/redis.ts']);
  });
});
