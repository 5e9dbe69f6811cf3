import { expect, it } from '@jest/globals';

import { backendRows } from '../../src/app/internal/backend-table.ts';
import type { Registry } from '../../src/registry/registry.ts';
import { systemTimers } from '../../src/runtime/system.ts';
import { failureOf } from '../../src/testing/failures.ts';
import { WatchRecorder } from '../../src/testing/recorders.ts';
import { capabilitiesOf, leaseOf } from '../service/support.ts';
import { eventually } from '../support/waiting.ts';
import { describeEachRegistry } from './each-registry.ts';
import { nodeOf, serviceOf } from './support.ts';

const patienceMs = 60_000;
const names = backendRows.registry
  .map(({ name }) => name)
  .filter((name) => capabilitiesOf(name)?.transferable === true);

/** The address of the node of the service, if it is found. */
async function addressIn(registry: Registry): Promise<string | undefined> {
  const records = await registry.getService('handed-over').catch(() => []);
  return records[0]?.nodes[0]?.address;
}

it('is shown for some registries', () => {
  expect(names).toContain('redis');
});

describeEachRegistry('a registration that another instance goes on with', names, (make, name) => {
  const ttlMs = leaseOf(name, 3_000);
  const service = serviceOf('handed-over', [nodeOf('n1')]);
  const changed = serviceOf('handed-over', [nodeOf('n1', { metadata: { 'tenon-busy': 'true' } })]);

  it('is neither lost nor removed by the first, and ends with the second', async () => {
    const [first, second, reader] = [await make(), await make(), await make()];
    await first.register(service, { ttlMs });
    const seen = new WatchRecorder(await reader.watch({ service: service.name }));
    await first.release?.(service);
    const renew = async (record: typeof service, times: number): Promise<void> => {
      for (let time = 0; time < times; time += 1) {
        await second.register(record, { ttlMs });
        for (const registry of [second, reader])
          expect((await registry.getService(service.name))[0]?.nodes.map(({ id }) => id)).toEqual(['n1']);
        await systemTimers.sleep(ttlMs / 4);
      }
    };
    await renew(service, 8);
    await renew(changed, 2);
    await eventually('the change is seen', () => seen.texts.includes('update n1'), patienceMs);
    await first.close();
    await renew(service, 6);
    expect(seen.texts.filter((text) => text.startsWith('delete'))).toEqual([]);
    await second.deregister(service);
    await eventually('it is gone', () => seen.texts.at(-1) === 'delete n1', patienceMs);
    await expect(reader.getService(service.name)).rejects.toMatchObject({ reason: 'registry.not_found' });
  }, 180_000);

  it('is removed by the first if the second has died without a word', async () => {
    const [first, second, reader] = [await make(), await make(), await make()];
    const longMs = 120_000;
    await first.register(service, { ttlMs: longMs });
    await first.release?.(service);
    await second.register(changed, { ttlMs: longMs });
    const seen = new WatchRecorder(await reader.watch({ service: service.name }));
    await second.close();
    expect(seen.texts.filter((text) => text.startsWith('delete'))).toEqual([]);
    await first.deregister(service);
    await eventually('it is gone', () => seen.texts.at(-1) === 'delete n1', patienceMs);
    await eventually(
      'it is not found',
      async () => (await failureOf(reader.getService(service.name))).reason === 'registry.not_found',
      patienceMs,
    );
  }, 180_000);

  it('is not removed by the first if somebody else has it since', async () => {
    const [first, other, reader] = [await make(), await make(), await make()];
    const theirs = serviceOf('handed-over', [nodeOf('n1', { address: '127.0.0.1:7999' })]);
    await first.register(service, { ttlMs });
    await first.release?.(service);
    await other.register(theirs, { ttlMs: 120_000 });
    await eventually(
      'it is the node of the other',
      async () => (await addressIn(reader)) === '127.0.0.1:7999',
      patienceMs,
    );
    await first.deregister(service);
    for (let time = 0; time < 4; time += 1) {
      expect(await addressIn(reader)).toBe('127.0.0.1:7999');
      await systemTimers.sleep(100);
    }
    await other.deregister(theirs);
  }, 180_000);

  it('ends with its lease if the second does not begin', async () => {
    const [first, reader] = [await make(), await make()];
    await first.register(service, { ttlMs });
    await first.release?.(service);
    const seen = new WatchRecorder(await reader.watch({ service: service.name }));
    await eventually('it is gone', () => seen.texts.at(-1) === 'delete n1', patienceMs);
  }, 180_000);
});
