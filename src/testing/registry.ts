import assert from 'node:assert/strict';

import { Code } from '../errors/errors.ts';
import type { Case, TestApi } from './api.ts';
import { recordCases } from './internal/registry-record-cases.ts';
import {
  registryCase,
  collect,
  found,
  fresh,
  nodeOf,
  record,
  type RegistryHarness,
} from './internal/registry-fixture.ts';
import { strangerCases } from './internal/registry-stranger-cases.ts';
import { watchCases } from './internal/registry-watch-cases.ts';

const lifecycleCases: readonly Case<RegistryHarness>[] = [
  registryCase(
    'an instance has the capabilities that it is tested with, if it has the property',
    undefined,
    async (fixture) => {
      const { capabilities } = await fixture.make();
      if (capabilities !== undefined) assert.deepEqual(capabilities, fixture.capabilities);
    },
  ),
  registryCase('a call whose signal has aborted is CANCELLED', undefined, async (fixture) => {
    const registry = await fixture.make();
    const signal = AbortSignal.abort();
    const cancelled = { code: Code.Cancelled, reason: 'call.cancelled' };
    await assert.rejects(registry.getService(fresh(), { signal }), cancelled);
    await assert.rejects(registry.register(record(fresh(), [nodeOf('x')]), { signal }), cancelled);
  }),
  registryCase('init changes options until the first call', undefined, async (fixture) => {
    const registry = await fixture.make();
    registry.init({ ttlMs: 12_345 });
    assert.equal(registry.options.ttlMs, 12_345);
    await found(registry, fresh());
    assert.throws(() => registry.init({ ttlMs: 1 }), { code: Code.FailedPrecondition, reason: 'registry.started' });
  }),
  registryCase('TLS and credentials that a registry does not take are an error', undefined, async (fixture) => {
    const registry = await fixture.make();
    const { tls = false, credentials = [] } = fixture.capabilities;
    const unsupported = { code: Code.FailedPrecondition, reason: 'registry.unsupported' };
    if (!tls) assert.throws(() => registry.init({ tls: {} }), unsupported);
    for (const kind of ['password', 'token'] as const) {
      if (!credentials.includes(kind))
        assert.throws(() => registry.init({ credentials: { [kind]: 'x' } }), unsupported);
    }
  }),
  registryCase(
    'TLS that cannot be spoken fails every call, and nothing is asked in the clear',
    'tls',
    async (fixture) => {
      const registry = await fixture.make();
      registry.init({ tls: { caFile: '/nowhere/ca.crt' } });
      const invalid = { code: Code.FailedPrecondition, reason: 'tls.invalid' };
      await assert.rejects(registry.listServices(), invalid);
      await assert.rejects(registry.getService(fresh()), invalid);
    },
  ),
  registryCase('close ends watchers and makes later calls fail', undefined, async (fixture) => {
    const registry = await fixture.make();
    const watching = fixture.capabilities.watches ? collect(await registry.watch()).ended : Promise.resolve('ended');
    await registry.close();
    await registry.close();
    assert.equal(await watching, 'ended');
    const closed = { code: Code.FailedPrecondition, reason: 'registry.closed' };
    await assert.rejects(registry.getService(fresh()), closed);
    await assert.rejects(registry.register(record(fresh(), [nodeOf('x')])), closed);
    await assert.rejects(registry.deregister(record(fresh(), [nodeOf('x')])), closed);
    await assert.rejects(registry.listServices(), closed);
    await assert.rejects(registry.watch(), closed);
  }),
];

/** The cases of the `Registry` contract. */
export const registryCases: readonly Case<RegistryHarness>[] = [
  ...recordCases,
  ...strangerCases,
  ...watchCases,
  ...lifecycleCases,
];

/** The cases that apply to a registry with the harness's capabilities. */
export function registryCasesFor(harness: RegistryHarness): readonly Case<RegistryHarness>[] {
  const { capabilities } = harness;
  const { expires, shared, watches, registers = true, tls = false, listsAll = true, keeps = {} } = capabilities;
  const keepsMetadata = keeps.metadata !== false;
  const { seesOthers = shared, guardsNodes = capabilities.transferable === true } = harness;
  const supported: Record<string, boolean> = {
    registers,
    readOnly: !registers,
    expires: expires && registers,
    shared: seesOthers && watches,
    guardsNodes: guardsNodes && registers,
    twins: guardsNodes && registers && seesOthers && watches,
    transferredTwins: guardsNodes && registers && seesOthers && capabilities.transferable === true,
    lists: seesOthers && listsAll,
    watches,
    tls,
    lapses: expires && watches && registers,
    versions: keeps.versions !== false,
    metadata: keepsMetadata,
    ownMetadata: keepsMetadata && registers,
    watchedMetadata: keepsMetadata && watches,
    limits: harness.maxRecordBytes !== undefined && registers,
  };
  return registryCases.filter(({ requires }) => requires === undefined || supported[requires] === true);
}

/** Registers the cases of a registry with a test runner. */
export function registryConformance(api: TestApi, name: string, harness: RegistryHarness): void {
  api.describe(`registry: ${name}`, () => {
    for (const one of registryCasesFor(harness)) api.it(one.name, () => one.run(harness));
  });
}
