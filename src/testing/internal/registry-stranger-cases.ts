import assert from 'node:assert/strict';

import { Code, TenonError } from '../../errors/errors.ts';
import type { Registry, RegistryEvent, ServiceRecord } from '../../registry/registry.ts';
import type { Case } from '../api.ts';
import { eventually } from './patience.ts';
import {
  collect,
  found,
  fresh,
  ids,
  nodeOf,
  record,
  registryCase,
  type RegistryFixture,
  type RegistryHarness,
  ttlMs,
} from './registry-fixture.ts';

/** Texts that separate, escape or end something in some registry. */
const oddTexts: readonly string[] = [
  'a b',
  ' a',
  'a ',
  '.',
  '..',
  '.hidden',
  'a/../b',
  'a//b',
  '/a',
  'a/',
  'a%2Fb',
  '%',
  'a:b',
  'a~b',
  '*',
  '>',
  'a.*.>',
  '[x]?',
  '{service}',
  '$&',
  '"\'\\',
  '<&>',
  'line\nbreak',
  'tab\tbed',
  'nul\0',
  'ünï cödé ☃',
  '😀',
  '\ud800 half',
  '__proto__',
  'constructor',
  'x'.repeat(200),
  'x'.repeat(3_000),
];

/** The addresses of all nodes of a service. */
async function addresses(registry: Registry, name: string): Promise<string> {
  return (await found(registry, name))
    .flatMap(({ nodes }) => nodes.map(({ address }) => address))
    .sort()
    .join();
}

/** Registers, finds, watches and removes a service and a node of one text, unless that is refused. */
async function usesName(fixture: RegistryFixture, registry: Registry, text: string): Promise<void> {
  const service = record(text, [nodeOf(text)]);
  const watcher = fixture.capabilities.watches ? await registry.watch({ service: text }) : undefined;
  const { events } = watcher ? collect(watcher) : { events: [] as RegistryEvent[] };
  try {
    await registry.register(service, { ttlMs });
  } catch (thrown) {
    const error = TenonError.from(thrown);
    assert.deepEqual([error.code, error.reason], [Code.InvalidArgument, 'registry.invalid_service'], error.message);
    assert.deepEqual(await found(registry, text), []);
    watcher?.stop();
    return;
  }
  assert.deepEqual(await found(registry, text), [service]);
  // A watcher need not tell of what was there for a moment.
  if (watcher) await eventually('its beginning is told', () => events.length > 0, fixture.settleMs);
  await registry.deregister(service);
  assert.deepEqual(await found(registry, text), []);
  if (watcher) {
    await eventually('its end is told', () => events.at(-1)?.action === 'delete', fixture.settleMs);
    assert.deepEqual([...new Set(events.flatMap((event) => ids([event.service])))], [text]);
    watcher.stop();
  }
}

/** Cases of names, records and processes that do not know of each other. */
export const strangerCases: readonly Case<RegistryHarness>[] = [
  registryCase(
    'a name and an id of any text are registered, found, watched and removed, or refused',
    'registers',
    async (fixture) => {
      const registry = await fixture.make();
      const texts = oddTexts.filter((text) => fixture.harness.isLegalName?.(text) ?? true);
      await Promise.all(texts.map((text) => usesName(fixture, registry, text)));
    },
  ),
  registryCase('metadata of any text is found as it was registered', 'ownMetadata', async (fixture) => {
    const name = fresh();
    const metadata = Object.fromEntries(['', ...oddTexts].map((text) => [`k${text}`.slice(0, 30), text.slice(0, 100)]));
    const registry = await fixture.make();
    const service = record(name, [nodeOf(`${name}-1`, { metadata })]);
    await registry.register(service, { ttlMs });
    assert.deepEqual(await registry.getService(name), [service]);
  }),
  registryCase('calls for one node take effect in the order in which they are made', 'guardsNodes', async (fixture) => {
    const name = fresh();
    const registry = await fixture.make();
    const service = record(name, [nodeOf(`${name}-1`)]);
    for (let round = 0; round < 3; round += 1) {
      const calls = [
        registry.register(service, { ttlMs }),
        registry.deregister(service),
        registry.register(service, { ttlMs }),
      ];
      await Promise.all(calls);
      assert.deepEqual(await found(registry, name), [service]);
      await Promise.all([registry.register(service, { ttlMs }), registry.deregister(service)]);
      assert.deepEqual(await found(registry, name), []);
    }
  }),
  registryCase(
    'a node id that two registries use is one node, which the end of one leaves',
    'twins',
    async (fixture) => {
      const name = fresh();
      const { settleMs } = fixture;
      const [first, second, reader] = [await fixture.make(), await fixture.make(), await fixture.make()];
      const at = (port: number): ReturnType<typeof record> =>
        record(name, [nodeOf(`${name}-1`, { address: `127.0.0.1:${port}` })]);
      await first.register(at(4_001), { ttlMs });
      await second.register(at(4_002), { ttlMs });
      const isOne = async (): Promise<boolean> => /^127\.0\.0\.1:400[12]$/.test(await addresses(reader, name));
      await eventually('one is found', isOne, settleMs);
      const { events } = collect(await reader.watch({ service: name }));
      for (let round = 0; round < 3; round += 1) {
        await first.register(at(4_001), { ttlMs });
        await second.register(at(4_002), { ttlMs });
      }
      const marker = record(name, [nodeOf(`${name}-2`)]);
      await second.register(marker, { ttlMs });
      const told = (): string[] => events.map(({ action, service }) => `${action} ${ids([service]).join()}`);
      await eventually('later changes are told', () => events.length > 0, settleMs);
      assert.deepEqual(
        events.slice(0, 1).flatMap(({ service }) => ids([service])),
        [`${name}-2`],
        told().join(),
      );
      await second.deregister(marker);
      await first.deregister(at(4_001));
      const isSecond = async (): Promise<boolean> => (await addresses(reader, name)) === '127.0.0.1:4002';
      await eventually('the other is found', isSecond, settleMs);
      await second.register(at(4_002), { ttlMs });
      assert.ok(await isSecond(), 'it stays');
      assert.ok(!told().includes(`delete ${name}-1`), told().join());
      await second.deregister(at(4_002));
      await eventually('both are gone', async () => (await addresses(reader, name)) === '', settleMs);
    },
  ),
  registryCase(
    'a node that was handed over, and that another process has since, stays when both let go of it',
    'transferredTwins',
    async (fixture) => {
      const name = fresh();
      const [first, keeper, other] = [await fixture.make(), await fixture.make(), await fixture.make()];
      const [one, twin] = [4_001, 4_002].map((port) =>
        record(name, [nodeOf(`${name}-1`, { address: `127.0.0.1:${port}` })]),
      ) as [ServiceRecord, ServiceRecord];
      await first.register(one, { ttlMs });
      await keeper.register(one, { ttlMs });
      await first.release?.(one);
      await other.register(twin, { ttlMs });
      await keeper.deregister(one);
      await first.deregister(one);
      assert.deepEqual(await found(other, name), [twin]);
      await first.register(one, { ttlMs });
      await first.deregister(one);
      await other.register(twin, { ttlMs });
      assert.deepEqual(await found(other, name), [twin]);
      await other.deregister(twin);
      assert.deepEqual(await found(other, name), []);
    },
  ),
];
