import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { type Profile, System } from 'tenon';

import { staging } from './profiles.ts';
import { WhereaboutsHandler, WhereaboutsService } from './whereabouts.ts';

const folder = await mkdtemp(join(tmpdir(), 'staging-registry-'));
const env = { TENON_PROFILE: 'local', TENON_LOG_LEVEL: 'warn', ...process.env };

const profiles: Record<string, string | Profile> = { test: 'test', local: 'local', staging };

row('profile', 'transport', 'registry', 'selector', 'broker');
for (const [name, profile] of Object.entries(profiles)) {
  const address = profile === staging ? folder : undefined;
  const system = await System.start([WhereaboutsService], {
    profile,
    env: { ...env, TENON_REGISTRY_ADDRESS: address },
  });
  const { transport, registry, selector, broker } = await system.client(WhereaboutsHandler).tell();
  row(name, transport, registry, selector, broker);
  if (profile === staging) console.log(`nodes in the folder while staging runs: ${(await readdir(folder)).length}`);
  await system.stop();
}
console.log(`nodes in the folder afterwards: ${(await readdir(folder)).length}`);
await rm(folder, { recursive: true });

function row(...cells: string[]): void {
  console.log(
    cells
      .map((cell) => cell.padEnd(12))
      .join('')
      .trimEnd(),
  );
}
