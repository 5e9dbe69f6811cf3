import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';

import { System } from 'tenon';
import { systemClock, systemRandom, systemTimers } from 'tenon/runtime/system';
import { pathPart } from 'tenon/registry/kit';
import { registryConformance, type TestApi } from 'tenon/testing';

import { FolderRegistry } from './folder-registry.ts';
import { staging } from './profiles.ts';
import { WhereaboutsHandler, WhereaboutsService } from './whereabouts.ts';

let folder: string;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'staging-registry-'));
});
after(() => rm(folder, { recursive: true }));

void describe('staging', () => {
  void it('finds a service of another system through the shared folder', async () => {
    const options = {
      profile: staging,
      env: { TENON_PROFILE: 'local', TENON_LOG_LEVEL: 'warn', TENON_REGISTRY_ADDRESS: folder },
    };
    const serving = await System.start([WhereaboutsService], options);
    const calling = await System.start([], options);
    try {
      const answer = await calling.client(WhereaboutsHandler).tell();
      assert.deepEqual(answer, { transport: 'grpc', registry: 'folder', selector: 'peak-ewma', broker: 'memory' });
    } finally {
      await calling.stop();
      await serving.stop();
    }
  });
});

// A registry of one's own is proved by the cases that tenon's own registries pass. They take the runner's functions,
// whichever it is.
const runner: TestApi = {
  describe: (name, body) => void describe(name, body),
  it: (name, body, timeoutMs) => void it(name, { timeout: timeoutMs }, body),
};

registryConformance(runner, 'folder', {
  make: () => new FolderRegistry(folder, systemClock, systemTimers, systemRandom),
  capabilities: FolderRegistry.capabilities,
  // A watcher looks ten times a second: what comes and goes in between is not seen.
  shortTtlMs: 500,
  // Names and ids are in the name of a file.
  isLegalName: (name) => pathPart(name).length <= 100,
});
