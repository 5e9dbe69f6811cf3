import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';

import { System } from 'tenon';

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
      assert.deepEqual(answer, { transport: 'grpc', registry: 'folder', selector: 'random', broker: 'memory' });
    } finally {
      await calling.stop();
      await serving.stop();
    }
  });
});
