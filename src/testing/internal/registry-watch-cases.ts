import assert from 'node:assert/strict';

import type { RegistryEvent } from '../../registry/registry.ts';
import type { Case } from '../api.ts';
import { eventually } from './patience.ts';
import { registryCase, collect, found, fresh, ids, nodeOf, record, type RegistryHarness } from './registry-fixture.ts';

/** The nodes that exist after the events, as text. */
function viewAfter(events: readonly RegistryEvent[]): string {
  const view = new Map<string, string>();
  for (const { action, service } of events) {
    for (const node of service.nodes) {
      if (action === 'delete') view.delete(node.id);
      else view.set(node.id, node.address);
    }
  }
  return [...view]
    .map(([id, address]) => `${id} ${address}`)
    .sort()
    .join('\n');
}

/** Cases of watchers. */
export const watchCases: readonly Case<RegistryHarness>[] = [
  registryCase('a watcher sees a node come, change and go', 'watches', async (fixture) => {
    const name = fresh();
    const registry = await fixture.make();
    const watcher = await registry.watch({ service: name });
    const { events } = collect(watcher);
    const { settleMs } = fixture;
    await fixture.announce(registry, record(name, [nodeOf(`${name}-1`)]));
    await eventually('the node comes', () => events.some(({ action }) => action !== 'delete'), settleMs);
    const changed = nodeOf(`${name}-1`, { address: '127.0.0.9:4000' });
    await fixture.announce(registry, record(name, [changed]));
    const isChanged = (): boolean => events.some(({ service }) => service.nodes[0]?.address === changed.address);
    await eventually('it changes', isChanged, settleMs);
    await fixture.withdraw(registry, record(name, [changed]));
    await eventually('it goes', () => events.at(-1)?.action === 'delete', settleMs);
    assert.deepEqual(
      events.at(-1)?.service.nodes.map((node) => node.id),
      [`${name}-1`],
    );
    watcher.stop();
  }),
  registryCase('a watcher sees a node begin to drain', 'watchedMetadata', async (fixture) => {
    const name = fresh();
    const registry = await fixture.make();
    const watcher = await registry.watch({ service: name });
    const { events } = collect(watcher);
    await fixture.announce(registry, record(name, [nodeOf(`${name}-1`)]));
    const draining = nodeOf(`${name}-1`, { metadata: { 'tenon-state': 'draining' } });
    await fixture.announce(registry, record(name, [draining]));
    const isTold = (): boolean =>
      events.some(({ service }) => service.nodes[0]?.metadata['tenon-state'] === 'draining');
    await eventually('it drains', isTold, fixture.settleMs);
    watcher.stop();
  }),
  registryCase('a watcher sees what another registry announces', 'shared', async (fixture) => {
    const name = fresh();
    const [here, there] = [await fixture.make(), await fixture.make()];
    const watcher = await there.watch({ service: name });
    const { events } = collect(watcher);
    await fixture.announce(here, record(name, [nodeOf(`${name}-1`)]));
    await eventually('the node comes', () => events.length > 0, fixture.settleMs);
    await fixture.withdraw(here, record(name, [nodeOf(`${name}-1`)]));
    await eventually('it goes', () => events.at(-1)?.action === 'delete', fixture.settleMs);
    watcher.stop();
  }),
  registryCase('a watcher sees a node whose lease ends', 'lapses', async (fixture) => {
    const { shortTtlMs, settleMs } = fixture;
    const name = fresh();
    const registry = await fixture.make();
    const watcher = await registry.watch({ service: name });
    const { events } = collect(watcher);
    await registry.register(record(name, [nodeOf(`${name}-1`)]), { ttlMs: shortTtlMs });
    await eventually('it goes', () => events.at(-1)?.action === 'delete', shortTtlMs + settleMs);
    watcher.stop();
  }),
  registryCase('a watcher of one service sees no other', 'watches', async (fixture) => {
    const [mine, other] = [fresh('mine'), fresh('other')];
    const registry = await fixture.make();
    const one = await registry.watch({ service: mine });
    const all = await registry.watch();
    const [seenByOne, seenByAll] = [collect(one), collect(all)];
    await fixture.announce(registry, record(other, [nodeOf(`${other}-1`)]));
    await fixture.announce(registry, record(mine, [nodeOf(`${mine}-1`)]));
    const names = (events: readonly RegistryEvent[]): string[] => [
      ...new Set(events.map(({ service }) => service.name)),
    ];
    await eventually(
      'both are seen',
      () => names(seenByAll.events).length >= 2 && seenByOne.events.length > 0,
      fixture.settleMs,
    );
    assert.deepEqual(names(seenByOne.events), [mine]);
    one.stop();
    all.stop();
  }),
  registryCase('a watcher reports neither nodes that existed before nor renewals', 'watches', async (fixture) => {
    const name = fresh();
    const registry = await fixture.make();
    await fixture.announce(registry, record(name, [nodeOf(`${name}-1`)]));
    const watcher = await registry.watch({ service: name });
    const { events } = collect(watcher);
    await fixture.announce(registry, record(name, [nodeOf(`${name}-1`)]));
    await fixture.announce(registry, record(name, [nodeOf(`${name}-2`)]));
    const isTold = (): boolean => events.some(({ service }) => ids([service]).includes(`${name}-2`));
    await eventually('a change comes', isTold, fixture.settleMs);
    assert.deepEqual(
      events.flatMap(({ service }) => ids([service])),
      [`${name}-2`],
    );
    watcher.stop();
  }),
  registryCase('changes are reported in order, the current state last', 'watches', async (fixture) => {
    const name = fresh();
    const registry = await fixture.make();
    const watcher = await registry.watch({ service: name });
    const { events } = collect(watcher);
    for (let round = 0; round < 10; round += 1) {
      const metadata = fixture.keepsMetadata ? { round: String(round) } : {};
      const node = nodeOf(`${name}-1`, { address: `127.0.0.1${round}:4000`, metadata });
      await fixture.announce(registry, record(name, [node]));
    }
    const told = (): string[] => events.map(({ service }) => service.nodes[0]?.address ?? '');
    await eventually('the last one comes', () => told().at(-1) === '127.0.0.19:4000', fixture.settleMs);
    assert.deepEqual(told(), [...told()].sort());
    watcher.stop();
  }),
  registryCase('the reported changes add up to the nodes that are found', 'watches', async (fixture) => {
    const name = fresh();
    const registry = await fixture.make();
    const watcher = await registry.watch({ service: name });
    const { events } = collect(watcher);
    const one = (index: number, host: number): ReturnType<typeof record> =>
      record(name, [nodeOf(`${name}-${index}`, { address: `127.0.1.${host}:4000` })]);
    for (let step = 0; step < 24; step += 1) {
      const index = (step * 5) % 4;
      if (step % 3 === 2) await fixture.withdraw(registry, one(index, 1));
      else await fixture.announce(registry, one(index, 100 + step));
    }
    await fixture.announce(registry, one(9, 200));
    const isSame = async (): Promise<boolean> => {
      const records = await found(registry, name);
      return viewAfter(events) === viewAfter(records.map((service) => ({ action: 'create', service })));
    };
    await eventually('the watcher knows what is there', isSame, fixture.settleMs);
    watcher.stop();
  }),
  registryCase('stop and an abort of the signal end the iteration of a watcher', 'watches', async (fixture) => {
    const registry = await fixture.make();
    const stopped = await registry.watch({ service: fresh() });
    const first = collect(stopped);
    stopped.stop();
    stopped.stop();
    assert.equal(await first.ended, 'ended');
    const controller = new AbortController();
    const second = collect(await registry.watch({ service: fresh(), signal: controller.signal }));
    controller.abort();
    assert.equal(await second.ended, 'ended');
  }),
];
