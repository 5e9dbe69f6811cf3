import { execFileSync } from 'node:child_process';
import { chmod, mkdir, mkdtemp, open, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';

import { Code } from '../../src/errors/errors.ts';
import { FileRegistry, type FileRegistryOptions } from '../../src/registry/file.ts';
import { systemRuntime } from '../../src/runtime/system.ts';
import { RecordingLogger, WatchRecorder } from '../../src/testing/recorders.ts';
import { eventually } from '../support/waiting.ts';
import { idsOf, nodeOf, serviceOf } from './support.ts';

const patientMs = 20_000;
const { timers } = systemRuntime;

let folder: string;
let opened: FileRegistry[] = [];
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tenon-file-'));
});
afterEach(async () => {
  for (const registry of opened) await registry.close();
  opened = [];
  await rm(folder, { recursive: true });
});

function scene(options: FileRegistryOptions = {}, name = 'services.json') {
  const logger = new RecordingLogger();
  const path = join(folder, name);
  const registry = new FileRegistry({ address: path, ...options }, systemRuntime.clock, timers, logger);
  opened.push(registry);
  return { registry, logger, path };
}

/** The text of a file with nodes of one service. */
function listing(...ids: readonly string[]): string {
  return JSON.stringify({ services: [serviceOf('greeter', ids)] });
}

/** As most tools write: aside, and moved into place. */
async function replace(path: string, text: string): Promise<void> {
  await writeFile(`${path}.new`, text);
  await rename(`${path}.new`, path);
}

describe('FileRegistry', () => {
  it('lists services with all fields of their records', async () => {
    const { registry, path } = scene();
    const endpoints = [{ name: 'Greeter.Hello', request: undefined, response: undefined, metadata: {} }];
    const full = serviceOf('greeter', [nodeOf('n1', { metadata: { zone: 'a' } }), 'n2'], {
      metadata: { owner: 'suite' },
      endpoints,
    });
    await writeFile(path, JSON.stringify([full, serviceOf('other', ['o1'], { version: '2.0.0' })]));
    expect(await registry.getService('greeter')).toEqual([full]);
    expect((await registry.listServices()).map(({ name, version }) => [name, version])).toEqual([
      ['greeter', '1.0.0'],
      ['other', '2.0.0'],
    ]);
  });

  it.each(['services.yaml', 'services.YML'])('reads YAML in the short form: %s', async (name) => {
    const { registry, path } = scene({}, name);
    const text = `
services:
  - name: greeter
    version: 1.10
    nodes:
      - 10.0.0.7:50051
      - address: 10.0.0.8:50051
        id: second
        metadata: { zone: a, weight: 5, on: true }
`;
    await writeFile(path, text);
    expect(await registry.getService('greeter')).toEqual([
      {
        name: 'greeter',
        version: '1.10',
        metadata: {},
        endpoints: [],
        nodes: [
          { id: 'greeter-10.0.0.7:50051', address: '10.0.0.7:50051', metadata: {} },
          { id: 'second', address: '10.0.0.8:50051', metadata: { zone: 'a', weight: '5', on: 'true' } },
        ],
      },
    ]);
  });

  it('skips invalid entries, and logs each once with its place', async () => {
    const { registry, path, logger } = scene();
    const nodes = [nodeOf('n1'), nodeOf('n2', { address: '127.0.0.1:0' }), null, '', nodeOf('n1', { address: 'b:1' })];
    const services = [{ nodes }, 7, null, { name: 'none' }, { name: 'odd', nodes: 'x' }, { name: 'greeter', nodes }];
    await writeFile(path, JSON.stringify({ services }));
    for (let time = 0; time < 3; time += 1) {
      // One id in two places is the place that was said last.
      expect((await registry.getService('greeter'))[0]?.nodes).toEqual([nodeOf('n1', { address: 'b:1' })]);
    }
    expect(logger.texts.filter((line) => /nodes\[1\] of services\[5\]/.test(line))).toHaveLength(1);
    expect(logger.texts.length).toBeLessThanOrEqual(6);
  });

  it.each([
    ['{"services": [\n  {"name": }', "Unexpected token '}'"],
    ['{"services": [],\n "a": "b', 'line 2, column'],
    ['{"services": [', 'line 1, column 15'],
    ['{}', 'it is no list of services'],
    ['null', 'it is no list of services'],
    [' ', 'it is empty'],
  ])('rejects while its file has never been valid: %s', async (text, why) => {
    const { registry, path } = scene();
    await writeFile(path, text);
    await expect(registry.getService('greeter')).rejects.toMatchObject({
      code: Code.Unavailable,
      reason: 'registry.unreachable',
      message: expect.stringContaining(why),
    });
  });

  it('rejects for a missing or too large file, and reads it again at the next call', async () => {
    const { registry, path } = scene({ maxFileBytes: 1_000 });
    const unreachable = { code: Code.Unavailable, reason: 'registry.unreachable' };
    await expect(registry.getService('greeter')).rejects.toMatchObject({
      ...unreachable,
      message: expect.stringMatching(/ENOENT.*TENON_REGISTRY_ADDRESS/),
    });
    await expect(registry.watch()).rejects.toMatchObject(unreachable);
    await writeFile(path, `${listing('n1')}${' '.repeat(1_000)}`);
    await expect(registry.getService('greeter')).rejects.toMatchObject({
      ...unreachable,
      message: expect.stringContaining('larger than 1000 bytes'),
    });
    await writeFile(path, listing('n1'));
    expect(await idsOf(registry, 'greeter')).toEqual(['n1']);
  });

  it('requires a path', async () => {
    const registry = new FileRegistry();
    opened.push(registry);
    const missing = { code: Code.InvalidArgument, reason: 'registry.invalid_address' };
    await expect(registry.getService('greeter')).rejects.toMatchObject(missing);
  });
});

/** Does something with the rights of nobody, whom permissions concern, where the tests run as root. */
async function asNobody(work: () => Promise<void>): Promise<void> {
  const isRoot = process.geteuid?.() === 0;
  if (isRoot) process.seteuid?.(65_534);
  try {
    await work();
  } finally {
    if (isRoot) process.seteuid?.(0);
  }
}

describe('FileRegistry at a path that cannot be read', () => {
  it.each<[what: string, spoil: (path: string) => Promise<unknown> | void, why: RegExp]>([
    ['is a folder', (path) => mkdir(path), /it is no file|EISDIR/],
    ['is a pipe, at which nobody writes', (path) => void execFileSync('mkfifo', [path]), /it is no file/],
    ['leads to itself', (path) => symlink(path, path), /ELOOP/],
    ['leads to a device without an end', (path) => symlink('/dev/zero', path), /it is no file/],
    ['is larger than it may be', (path) => writeFile(path, ' '.repeat(5_000)), /larger than 4000 bytes/],
  ])('rejects with the variable to change, and keeps its list if it had one: a path that %s', async (_, spoil, why) => {
    const { registry, path, logger } = scene({ settleMs: 5, maxReadMs: 50, maxFileBytes: 4_000 });
    await spoil(path);
    const unreachable = { code: Code.Unavailable, reason: 'registry.unreachable' };
    for (const call of [() => registry.getService('greeter'), () => registry.watch()])
      await expect(call()).rejects.toMatchObject({ ...unreachable, message: expect.stringMatching(why) });
    await expect(registry.listServices()).rejects.toThrow(/TENON_REGISTRY_ADDRESS/);
    await rm(path, { recursive: true });
    await writeFile(path, listing('n1'));
    const seen = new WatchRecorder(await registry.watch());
    await rm(path);
    await spoil(path);
    await eventually('it is noticed', () => logger.texts.length > 0, patientMs);
    for (let round = 0; round < 5; round += 1) expect(await idsOf(registry, 'greeter')).toEqual(['n1']);
    await rm(path, { recursive: true });
    await replace(path, listing('n2'));
    await eventually('it is told', () => seen.texts.includes('delete n1'), patientMs);
    expect(seen.texts).toEqual(['create n2', 'delete n1']);
    expect(logger.texts.filter((text) => text.startsWith('warn'))).toHaveLength(1);
  });

  it('keeps its list while it has no right to read the file', async () => {
    await rm(folder, { recursive: true });
    await asNobody(async () => {
      folder = await mkdtemp(join(tmpdir(), 'tenon-file-'));
      const { registry, path, logger } = scene({ settleMs: 5, maxReadMs: 50 });
      await writeFile(path, listing('n1'));
      const seen = new WatchRecorder(await registry.watch());
      await writeFile(path, listing('n2'));
      await chmod(path, 0);
      const denied = expect.stringMatching(/^warn the file .* cannot be used \(.*EACCES/);
      await writeFile(`${path}.aside`, listing('n3'));
      await eventually('it is noticed', () => logger.texts.length > 0, patientMs);
      const known = await idsOf(registry, 'greeter');
      for (let round = 0; round < 5; round += 1) expect(await idsOf(registry, 'greeter')).toEqual(known);
      expect(logger.texts).toEqual([denied]);
      await expect(scene().registry.getService('greeter')).rejects.toMatchObject({
        reason: 'registry.unreachable',
        message: expect.stringMatching(/EACCES.*TENON_REGISTRY_ADDRESS/),
      });
      await rename(`${path}.aside`, path);
      await eventually('it is read again', () => seen.texts.includes('create n3'), patientMs);
      expect(await idsOf(registry, 'greeter')).toEqual(['n3']);
      expect(logger.texts).toEqual([denied, expect.stringMatching(/^info the file .* is read again$/)]);
    });
  });

  it('reads a text that begins with the mark of its encoding, as some editors write it', async () => {
    for (const name of ['services.json', 'services.yaml']) {
      const { registry, path } = scene({}, name);
      await writeFile(path, `\uFEFF${listing('n1')}`);
      expect(await idsOf(registry, 'greeter')).toEqual(['n1']);
    }
  });
});

// Without the fallback of looking now and then, so that what the file system tells has to do.
const told = { maxReadMs: 600_000 };

describe('FileRegistry with a changing file', () => {
  it('reports each change by rename', async () => {
    const { registry, path, logger } = scene(told);
    await replace(path, listing('n0'));
    const seen = new WatchRecorder(await registry.watch({ service: 'greeter' }));
    for (const id of ['n1', 'n2', 'n3']) {
      await replace(path, listing(id));
      await eventually(`${id} comes`, () => seen.texts.includes(`create ${id}`), patientMs);
    }
    expect(seen.texts).toEqual(['create n1', 'delete n0', 'create n2', 'delete n1', 'create n3', 'delete n2']);
    expect(logger.texts).toEqual([]);
  });

  it('reports each change of a link to another folder, as Kubernetes makes them', async () => {
    const { registry, path, logger } = scene(told);
    const publish = async (version: number): Promise<void> => {
      const data = join(folder, `..v${version}`);
      await mkdir(data);
      await writeFile(join(data, 'services.json'), listing(`n${version}`));
      await symlink(`..v${version}`, join(folder, '..data_tmp'));
      await rename(join(folder, '..data_tmp'), join(folder, '..data'));
      if (version > 0) await rm(join(folder, `..v${version - 1}`), { recursive: true });
    };
    await publish(0);
    await symlink(join('..data', 'services.json'), path);
    const seen = new WatchRecorder(await registry.watch());
    for (const version of [1, 2, 3]) {
      await publish(version);
      await eventually(`n${version} comes`, () => seen.texts.includes(`create n${version}`), patientMs);
    }
    expect(seen.texts).toEqual(['create n1', 'delete n0', 'create n2', 'delete n1', 'create n3', 'delete n2']);
    expect(logger.texts).toEqual([]);
  });

  it.each(['services.json', 'services.yaml'])('keeps its list during slow writes until they end: %s', async (name) => {
    const { registry, path, logger } = scene({ ...told, settleMs: 100 }, name);
    await writeFile(path, listing('n1', 'n2'));
    const seen = new WatchRecorder(await registry.watch());
    const next = listing('n2', 'n3');
    const file = await open(path, 'w');
    for (let at = 0; at < next.length; at += 40) {
      await file.write(next.slice(at, at + 40));
      await timers.sleep(20);
      expect((await idsOf(registry, 'greeter')).length).toBe(2);
    }
    await file.close();
    await eventually('the next is told', () => seen.texts.length >= 2, patientMs);
    expect(seen.texts).toEqual(['create n3', 'delete n1']);
    expect(logger.texts.filter((line) => line.startsWith('warn')).length).toBeLessThanOrEqual(1);
  });

  it('keeps its list when the file becomes invalid, and logs line and column once', async () => {
    const { registry, path, logger } = scene({ settleMs: 5 });
    await writeFile(path, listing('n1'));
    const seen = new WatchRecorder(await registry.watch());
    for (const text of ['{"services": [', '{"services": [\n{]', 'no json']) {
      await writeFile(path, text);
      await timers.sleep(150);
      expect(await idsOf(registry, 'greeter')).toEqual(['n1']);
    }
    await writeFile(path, listing('n2'));
    await eventually('it is told', () => seen.texts.includes('delete n1'), patientMs);
    expect(seen.texts).toEqual(['create n2', 'delete n1']);
    expect(logger.texts).toEqual([
      expect.stringMatching(
        /^warn the file .*services\.json cannot be used \(it is no JSON at line 1, column 15: Unexpected end/,
      ),
      expect.stringMatching(/^info the file .* is read again$/),
    ]);
  });

  it.each<[string, (path: string) => Promise<void>]>([
    ['is removed', (path) => rm(path)],
    ['is emptied', (path) => writeFile(path, '')],
  ])('keeps its list for a while after the file %s', async (_what, lose) => {
    const { registry, path } = scene({ absentMs: 1_000, settleMs: 5 });
    await writeFile(path, listing('n1'));
    const seen = new WatchRecorder(await registry.watch());
    await lose(path);
    expect(await idsOf(registry, 'greeter')).toEqual(['n1']);
    await writeFile(path, listing('n1'));
    expect(await idsOf(registry, 'greeter')).toEqual(['n1']);
    expect(seen.texts).toEqual([]);
    await lose(path);
    await eventually('it is believed', () => seen.texts.includes('delete n1'), patientMs);
    await expect(registry.getService('greeter')).rejects.toMatchObject({ code: Code.NotFound });
    await writeFile(path, listing('n2'));
    await eventually('it is back', () => seen.texts.includes('create n2'), patientMs);
  });

  it('reads a file that changes 200 times at once at a limited rate, and ends with its last content', async () => {
    const { registry, path } = scene(told);
    await replace(path, listing('n0'));
    const seen = new WatchRecorder(await registry.watch());
    for (let round = 1; round <= 200; round += 1) await replace(path, listing(`n${round}`));
    await eventually('the last is told', () => seen.texts.includes('create n200'), patientMs);
    await eventually('the one before is gone', () => seen.texts.at(-1)?.startsWith('delete') ?? false, patientMs);
    expect(seen.texts.length).toBeLessThan(200);
  });

  it('polls the file where the system reports no changes', async () => {
    const { registry, path } = scene({ maxReadMs: 50 });
    const elsewhere = await mkdtemp(join(tmpdir(), 'tenon-file-'));
    await writeFile(join(elsewhere, 'services.json'), listing('n1'));
    await symlink(join(elsewhere, 'services.json'), `${path}.link`);
    await rename(`${path}.link`, path);
    const seen = new WatchRecorder(await registry.watch());
    await rm(elsewhere, { recursive: true });
    await mkdir(elsewhere);
    await writeFile(join(elsewhere, 'services.json'), listing('n2'));
    await eventually('it is told', () => seen.texts.includes('create n2'), patientMs);
    await rm(elsewhere, { recursive: true });
  });
});
