import assert from 'node:assert/strict';

import { Code, TenonError } from '../../errors/errors.ts';
import type { RegistryCapabilities, ServiceRecord } from '../../registry/registry.ts';
import { systemRuntime } from '../../runtime/system.ts';
import type { Case } from '../api.ts';
import { eventually } from './patience.ts';
import { registryCase, found, fresh, ids, nodeOf, record, type RegistryHarness, ttlMs } from './registry-fixture.ts';

/** A service with every part of a record that the registry keeps. */
function fullRecord(name: string, { keeps = {} }: RegistryCapabilities): ServiceRecord {
  const value = { name: 'Request', type: 'Request', values: [{ name: 'name', type: 'string', values: [] }] };
  const metadata = keeps.metadata === false ? {} : { zone: 'a', protocol: 'grpc' };
  const endpoint = { name: 'Suite.Echo', request: value, response: value, metadata: { stream: 'true' } };
  return record(name, [nodeOf(`${name}-1`, { address: '10.0.0.7:50051', metadata })], {
    metadata: keeps.serviceMetadata === false ? {} : { owner: 'suite' },
    endpoints: keeps.endpoints === false ? [] : [endpoint],
  });
}

/** Cases of records: how they are registered, found and removed. */
export const recordCases: readonly Case<RegistryHarness>[] = [
  registryCase('a registered service is found with its whole record', undefined, async (fixture) => {
    const full = fullRecord(fresh(), fixture.capabilities);
    const registry = await fixture.make();
    await fixture.announce(registry, full);
    const isFound = async (of = registry): Promise<void> => {
      const records = await of.getService(full.name);
      const expected =
        fixture.capabilities.keeps?.versions === false ? [{ ...full, version: records[0]?.version }] : [full];
      assert.deepEqual(records, expected);
    };
    await isFound();
    if (fixture.seesOthers) await isFound(await fixture.make());
  }),
  registryCase(
    'a service that is not registered is NOT_FOUND, and the message names it',
    undefined,
    async (fixture) => {
      const name = fresh('nobody');
      const registry = await fixture.make();
      await assert.rejects(registry.getService(name), (error: unknown) => {
        assert.ok(TenonError.is(error));
        assert.deepEqual([error.code, error.reason], [Code.NotFound, 'registry.not_found']);
        assert.ok(error.message.includes(name), error.message);
        return true;
      });
    },
  ),
  registryCase('several nodes and versions are grouped by version', 'versions', async (fixture) => {
    const name = fresh();
    const registry = await fixture.make();
    await fixture.announce(registry, record(name, [nodeOf(`${name}-1`)]));
    await fixture.announce(registry, record(name, [nodeOf(`${name}-2`, { address: '127.0.0.1:4001' })]));
    const second = { version: '2.0.0' };
    await fixture.announce(registry, record(name, [nodeOf(`${name}-3`, { address: '127.0.0.1:4002' })], second));
    const records = await registry.getService(name);
    const byVersion = Object.fromEntries(records.map((one) => [one.version, ids([one])]));
    assert.deepEqual(byVersion, { '1.0.0': [`${name}-1`, `${name}-2`], '2.0.0': [`${name}-3`] });
  }),
  registryCase('registering a node again replaces its record', 'metadata', async (fixture) => {
    const name = fresh();
    const registry = await fixture.make();
    await fixture.announce(registry, record(name, [nodeOf(`${name}-1`)]));
    const next = nodeOf(`${name}-1`, { address: '127.0.0.1:4009', metadata: { 'tenon-state': 'draining' } });
    await fixture.announce(registry, record(name, [next]));
    const [one, ...others] = await registry.getService(name);
    assert.equal(others.length, 0);
    assert.deepEqual(one?.nodes, [next]);
  }),
  registryCase('deregister removes a node and leaves the others', undefined, async (fixture) => {
    const name = fresh();
    const registry = await fixture.make();
    const [first, second] = [record(name, [nodeOf(`${name}-1`)]), record(name, [nodeOf(`${name}-2`)])];
    await fixture.announce(registry, first);
    await fixture.announce(registry, second);
    await fixture.withdraw(registry, first);
    assert.deepEqual(ids(await registry.getService(name)), [`${name}-2`]);
    await fixture.withdraw(registry, second);
    await assert.rejects(registry.getService(name), { code: Code.NotFound });
  }),
  registryCase('a record with several nodes registers and deregisters all of them', undefined, async (fixture) => {
    const name = fresh();
    const registry = await fixture.make();
    const all = [`${name}-1`, `${name}-2`, `${name}-3`].map((id) => nodeOf(id));
    await fixture.announce(registry, record(name, all));
    assert.deepEqual(ids(await registry.getService(name)), [`${name}-1`, `${name}-2`, `${name}-3`]);
    await fixture.withdraw(registry, record(name, all.slice(1)));
    const left = async (): Promise<string> => ids(await found(registry, name)).join();
    await eventually('the others are gone', async () => (await left()) === `${name}-1`, fixture.settleMs);
  }),
  registryCase('changes of a record object after register are not visible', 'ownMetadata', async (fixture) => {
    const name = fresh();
    const registry = await fixture.make();
    const metadata = { zone: 'a' };
    await registry.register(record(name, [nodeOf(`${name}-1`, { metadata })]), { ttlMs });
    metadata.zone = 'b';
    assert.deepEqual((await registry.getService(name))[0]?.nodes[0]?.metadata, { zone: 'a' });
  }),
  registryCase('deregister of an unknown node is no error', 'registers', async (fixture) => {
    const name = fresh();
    await (await fixture.make()).deregister(record(name, [nodeOf(`${name}-1`)]));
  }),
  registryCase('a record without name or nodes is refused', 'registers', async (fixture) => {
    const registry = await fixture.make();
    const refused = { code: Code.InvalidArgument, reason: 'registry.invalid_service' };
    await assert.rejects(registry.register(record('', [nodeOf('x')])), refused);
    await assert.rejects(registry.register(record(fresh(), [])), refused);
  }),
  registryCase('a record over the size limit is refused, and one below it is found', 'limits', async (fixture) => {
    const name = fresh();
    const registry = await fixture.make();
    const { maxRecordBytes = 0 } = fixture.harness;
    const sized = (bytes: number): ServiceRecord =>
      record(name, [nodeOf(`${name}-1`, { metadata: { much: 'ü'.repeat(Math.ceil(bytes / 2)) } })]);
    const refused = { code: Code.InvalidArgument, reason: 'registry.invalid_service' };
    await assert.rejects(registry.register(sized(maxRecordBytes + 1)), refused);
    assert.deepEqual(await found(registry, name), []);
    await registry.register(sized(maxRecordBytes / 2), { ttlMs });
    assert.deepEqual(await registry.getService(name), [sized(maxRecordBytes / 2)]);
  }),
  registryCase('a registry without the capability refuses register and deregister', 'readOnly', async (fixture) => {
    const name = fresh();
    const registry = await fixture.make();
    const refused = { code: Code.Unimplemented, reason: 'registry.read_only' };
    await assert.rejects(registry.register(record(name, [nodeOf(`${name}-1`)])), refused);
    await assert.rejects(registry.deregister(record(name, [nodeOf(`${name}-1`)])), refused);
    assert.deepEqual(await found(registry, name), []);
  }),
  registryCase('listServices returns all services that have nodes', undefined, async (fixture) => {
    const [a, b] = [fresh('a'), fresh('b')];
    const registry = await fixture.make();
    for (const name of [a, b]) await fixture.announce(registry, record(name, [nodeOf(`${name}-1`)]));
    await fixture.withdraw(registry, record(b, [nodeOf(`${b}-1`)]));
    const names = (await registry.listServices()).map((one) => one.name);
    assert.ok(names.includes(a), names.join(', '));
    assert.ok(!names.includes(b), names.join(', '));
  }),
  registryCase('listServices returns services that the registry was never asked for', 'lists', async (fixture) => {
    const name = fresh();
    const [here, there] = [await fixture.make(), await fixture.make()];
    await fixture.announce(here, record(name, [nodeOf(`${name}-1`)]));
    const isListed = async (): Promise<boolean> => (await there.listServices()).some((one) => one.name === name);
    await eventually('it is listed', isListed, fixture.settleMs);
  }),
  registryCase('names with dots and other letters are kept apart', undefined, async (fixture) => {
    const base = fresh();
    const names = [
      `go.micro.srv.${base}`,
      `go.micro.srv.${base}.more`,
      `${base}_x`,
      `${base}/a`,
      `${base}:a`,
      `${base} ü*?`,
    ].filter((name) => fixture.harness.isLegalName?.(name) ?? true);
    const registry = await fixture.make();
    for (const name of names) await fixture.announce(registry, record(name, [nodeOf(`${name}-1`)]));
    for (const name of names) assert.deepEqual(ids(await registry.getService(name)), [`${name}-1`]);
  }),
  registryCase('concurrent registrations are all stored', 'registers', async (fixture) => {
    const name = fresh();
    const registry = await fixture.make();
    const all = Array.from({ length: 20 }, (_, index) => `${name}-${String(index).padStart(2, '0')}`);
    await Promise.all(all.map((id) => registry.register(record(name, [nodeOf(id)]), { ttlMs })));
    assert.deepEqual(ids(await registry.getService(name)), all);
  }),
  registryCase('another registry finds what one registers', 'shared', async (fixture) => {
    const name = fresh();
    const [here, there] = [await fixture.make(), await fixture.make()];
    await fixture.announce(here, record(name, [nodeOf(`${name}-1`)]));
    assert.deepEqual(ids(await there.getService(name)), [`${name}-1`]);
    await fixture.withdraw(here, record(name, [nodeOf(`${name}-1`)]));
    // Where others list the services, each registry notices it by itself.
    if (fixture.capabilities.registers === false) await fixture.withdraw(there, record(name, [nodeOf(`${name}-1`)]));
    await assert.rejects(there.getService(name), { code: Code.NotFound });
  }),
  registryCase('a lease ends unless it is renewed', 'expires', async (fixture) => {
    const { shortTtlMs, settleMs } = fixture;
    const name = fresh();
    const registry = await fixture.make();
    const [kept, left] = [record(name, [nodeOf(`${name}-kept`)]), record(name, [nodeOf(`${name}-left`)])];
    await registry.register(kept, { ttlMs: shortTtlMs });
    await registry.register(left, { ttlMs: shortTtlMs });
    for (let waitedMs = 0; waitedMs < 2 * shortTtlMs; waitedMs += shortTtlMs / 4) {
      await systemRuntime.timers.sleep(shortTtlMs / 4);
      const renewedMs = systemRuntime.clock.monotonicMs();
      await registry.register(kept, { ttlMs: shortTtlMs });
      const isThere = ids(await found(registry, name)).includes(`${name}-kept`);
      // On a machine that was too busy to look in time, the lease may have run out.
      const isLate = systemRuntime.clock.monotonicMs() - renewedMs >= shortTtlMs;
      assert.ok(isThere || isLate, 'a renewed lease lapsed');
    }
    const has = async (id: string): Promise<boolean> => ids(await found(registry, name)).includes(id);
    await eventually('the lease lapses', async () => !(await has(`${name}-left`)), settleMs);
    const isEmpty = async (): Promise<boolean> => (await found(registry, name)).length === 0;
    await eventually('the other lapses as well', isEmpty, shortTtlMs + settleMs);
  }),
  registryCase('a lease is not shortened by rounding', 'expires', async (fixture) => {
    const { ttlGranularityMs = 1 } = fixture.capabilities;
    const name = fresh();
    const registry = await fixture.make();
    const leaseMs = fixture.shortTtlMs + ttlGranularityMs / 2;
    const { clock, timers } = systemRuntime;
    const announcedAtMs = clock.monotonicMs();
    await registry.register(record(name, [nodeOf(`${name}-1`)]), { ttlMs: leaseMs });
    for (;;) {
      const isThere = ids(await found(registry, name)).includes(`${name}-1`);
      if (clock.monotonicMs() - announcedAtMs >= leaseMs) break;
      assert.ok(isThere, `it lapsed before ${leaseMs} ms had passed`);
      await timers.sleep(leaseMs / 20);
    }
  }),
];
