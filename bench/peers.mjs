// The frameworks that are compared with: installed on demand, so that nobody who only works on tenon has them.
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const folder = fileURLToPath(new URL('./peers', import.meta.url));

/** Installs what bench/peers/package-lock.json says, unless it is there. */
export function installPeers() {
  if (existsSync(`${folder}/node_modules`)) return;
  console.log('installing the peers into bench/peers …');
  execFileSync('npm', ['ci', '--prefix', folder, '--no-audit', '--no-fund'], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
}
