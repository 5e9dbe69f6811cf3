import assert from 'node:assert/strict';

import { Code } from '../errors/errors.ts';
import type { Case, TestApi } from './api.ts';
import { recordCases } from './internal/registry-record-cases.ts';
import { caseOf, collect, found, fresh, nodeOf, record, type RegistryHarness } from './internal/registry-scene.ts';
import { watchCases } from './internal/registry-watch-cases.ts';

const lifeCases: readonly Case<RegistryHarness>[] = [
  caseOf('an instance says the capabilities that it is tested with, if it says any', undefined, async (scene) => {
    const { capabilities } = await scene.make();
    if (capabilities !== undefined) assert.deepEqual(capabilities, scene.capabilities);
  }),
  caseOf('a call whose signal has aborted is CANCELLED', undefined, async (scene) => {
    const registry = await scene.make();
    const signal = AbortSignal.abort();
    const cancelled = { code: Code.Cancelled, reason: 'call.cancelled' };
    await assert.rejects(registry.getService(fresh(), { signal }), cancelled);
    await assert.rejects(registry.register(record(fresh(), [nodeOf('x')]), { signal }), cancelled);
  }),
  caseOf('options come before the first call', undefined, async (scene) => {
    const registry = await scene.make();
    registry.init({ ttlMs: 12_345 });
    assert.equal(registry.options.ttlMs, 12_345);
    await found(registry, fresh());
    assert.throws(() => registry.init({ ttlMs: 1 }), { code: Code.FailedPrecondition, reason: 'registry.started' });
  }),
  caseOf('closing ends watchers and refuses what comes', undefined, async (scene) => {
    const registry = await scene.make();
    const watching = scene.capabilities.watches ? collect(await registry.watch()).ended : Promise.resolve('ended');
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

/** The promises of `Registry`. */
export const registryCases: readonly Case<RegistryHarness>[] = [...recordCases, ...watchCases, ...lifeCases];

/** The cases that concern a registry of these capabilities. */
export function registryCasesFor(harness: RegistryHarness): readonly Case<RegistryHarness>[] {
  const { expires, shared, watches, registers = true, keeps = {} } = harness.capabilities;
  const keepsMetadata = keeps.metadata !== false;
  const supported: Record<string, boolean> = {
    registers,
    readOnly: !registers,
    expires: expires && registers,
    shared: (harness.seesOthers ?? shared) && watches,
    watches,
    lapses: expires && watches && registers,
    versions: keeps.versions !== false,
    metadata: keepsMetadata,
    ownMetadata: keepsMetadata && registers,
    watchedMetadata: keepsMetadata && watches,
    limits: harness.maxRecordBytes !== undefined && registers,
  };
  return registryCases.filter(({ requires }) => requires === undefined || supported[requires] === true);
}

/** Registers the suite of registries with a runner. */
export function registryConformance(api: TestApi, name: string, harness: RegistryHarness): void {
  api.describe(`registry: ${name}`, () => {
    for (const one of registryCasesFor(harness)) api.it(one.name, () => one.run(harness));
  });
}
