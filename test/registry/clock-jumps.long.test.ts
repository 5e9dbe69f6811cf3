import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { describe, expect, it } from '@jest/globals';

import type { Registry, RegistryOptions } from '../../src/registry/registry.ts';
import type { Clock } from '../../src/runtime/runtime.ts';
import { systemRuntime } from '../../src/runtime/system.ts';
import { WatchRecorder } from '../../src/testing/recorders.ts';
import { closing } from '../support/closing.ts';
import { freePort } from '../support/process.ts';
import { describeWithServer } from '../support/servers.ts';
import { expectNothingUncaught } from '../support/uncaught.ts';
import { eventually } from '../support/waiting.ts';
import { networkedRegistries, registryFrom } from './networked.ts';
import { idsOf, serviceOf } from './support.ts';

expectNothingUncaught();

const patientMs = 60_000;
const testMs = 180_000;
const { clock, timers } = systemRuntime;

/** A clock that is set forwards and back all the time, by up to a day, as `now()` shows it. */
function jumpingClock(): Clock {
  const dayMs = 86_400_000;
  let reads = 0;
  return { now: () => clock.now() + ((reads += 1) % 3) * dayMs - dayMs, monotonicMs: () => clock.monotonicMs() };
}

/** A process whose clock jumps, and one whose clock is right, see the same: leases last as long as they should. */
async function staysAndEnds(make: (clock?: Clock) => Promise<Registry>): Promise<void> {
  const [jumping, right] = [await make(jumpingClock()), await make()];
  closing.push(() => Promise.all([jumping.close(), right.close()]));
  const ttlMs = 6_000;
  const seen = [];
  for (const [id, registry] of [
    ['by-jumping', jumping],
    ['by-right', right],
  ] as const)
    await registry.register(serviceOf('jumps', [id]), { ttlMs });
  for (const registry of [jumping, right]) seen.push(new WatchRecorder(await registry.watch({ service: 'jumps' })));
  for (let round = 0; round < 6; round += 1) {
    for (const registry of [jumping, right])
      await registry.register(serviceOf('jumps', [registry === right ? 'by-right' : 'by-jumping']), { ttlMs });
    for (const registry of [jumping, right]) {
      const isThere = async (): Promise<boolean> => String(await idsOf(registry, 'jumps')) === 'by-jumping,by-right';
      await eventually('both are found', isThere, patientMs);
    }
    await timers.sleep(1_000);
  }
  expect(seen.map(({ texts }) => texts)).toEqual([[], []]);
  for (const registry of [jumping, right])
    await eventually('leases end', async () => (await idsOf(registry, 'jumps')).length === 0, patientMs);
}

describe.each(networkedRegistries.filter(({ list }) => !list).map((one) => [one.name, one] as const))(
  'leases of %s while the clock of a process jumps',
  (name, { server, options }) => {
    describeWithServer('with its server', server, () => {
      it(
        'neither end early nor last longer, and nobody is told of changes that are none',
        async () => {
          const make = (jumps?: Clock): Promise<Registry> =>
            registryFrom(name, { address: server.address, ...options?.() }, { ...(jumps && { clock: jumps }) });
          await staysAndEnds(make);
        },
        testMs,
      );
    });
  },
);

describe('leases of mdns while the clock of a process jumps', () => {
  it(
    'neither end early nor last longer',
    async () => {
      const where = { interface: '127.0.0.1', port: await freePort(), probeMs: 40 };
      await staysAndEnds((jumps) => registryFrom('mdns', where as RegistryOptions, { ...(jumps && { clock: jumps }) }));
    },
    testMs,
  );
});

describe('the services of a file or of DNS while the clock of a process jumps', () => {
  it('stay, and a file that goes away is missed after its time', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'tenon-clock-'));
    closing.push(() => rmSync(folder, { recursive: true }));
    const path = join(folder, 'services.json');
    writeFileSync(path, JSON.stringify([serviceOf('greeter', ['n1'])]));
    const options = { address: path, settleMs: 5, absentMs: 2_000 };
    const registry = await registryFrom('file', options, { clock: jumpingClock() });
    closing.push(() => registry.close());
    const seen = new WatchRecorder(await registry.watch());
    for (let round = 0; round < 10; round += 1) expect(await idsOf(registry, 'greeter')).toEqual(['n1']);
    rmSync(path);
    expect(await idsOf(registry, 'greeter')).toEqual(['n1']);
    await eventually('it is missed', () => seen.texts.includes('delete n1'), patientMs);
  });

  const dns = networkedRegistries.find(({ list }) => list);
  if (!dns) throw new Error('DNS has no server');
  describeWithServer('with CoreDNS', dns.server, () => {
    it('stay, and are looked up again by their TTL', async () => {
      dns.list?.('greeter', ['p0']);
      const options = { address: dns.server.address, ...dns.options?.() };
      const registry = await registryFrom('dns', options, { clock: jumpingClock() });
      closing.push(() => registry.close());
      await eventually('it is found', async () => (await idsOf(registry, 'greeter')).length === 1, patientMs);
      const seen = new WatchRecorder(await registry.watch({ service: 'greeter' }));
      await timers.sleep(3_000);
      expect(seen.texts).toEqual([]);
      dns.list?.('greeter', ['p0', 'p1']);
      await eventually('the next is told', () => seen.texts.includes('create p1:1'), patientMs);
    });
  });
});
