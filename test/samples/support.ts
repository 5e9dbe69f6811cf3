import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { freePort, startNode, type TestProcess } from '../support/process.ts';

/** The folder of a sample. */
export function sampleFolder(name: string): string {
  return fileURLToPath(new URL(`../../samples/${name}/`, import.meta.url));
}

/** The compiled main program of a sample. Throws, saying what to do, if it is not compiled. */
export function sampleMain(name: string): string {
  const main = `${sampleFolder(name)}dist/main.js`;
  if (!existsSync(main)) throw new Error(`${main} is not there: run "npm run build" first`);
  return main;
}

/** The n-th fenced block of that language in a text, without its fence. */
export function fencedBlocks(markdown: string, language: string): string[] {
  return [...markdown.matchAll(new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\`$`, 'gms'))].map(
    ([, block]) => block as string,
  );
}

/** What the README of a sample says it prints. */
export function promisedOutput(name: string): string {
  const [output] = fencedBlocks(readFileSync(`${sampleFolder(name)}README.md`, 'utf8'), 'text');
  if (output === undefined) throw new Error(`samples/${name}/README.md shows no output: it needs a \`\`\`text block`);
  return output;
}

/**
 * What keeps the processes of one test apart from all others on this machine: mDNS on loopback, on a port of its own.
 */
export async function privateMdns(): Promise<Record<string, string>> {
  return { TENON_MDNS_INTERFACE: '127.0.0.1', TENON_MDNS_PORT: String(await freePort()) };
}

/** A served sample `places`, and where its services are. */
export interface ServedPlaces {
  readonly process: TestProcess;
  /** Address by service name. */
  readonly addresses: Readonly<Record<string, string>>;
}

/** Starts `places --serve` (some of its services, or all) and waits until it can be called. */
export async function servePlaces(
  env: Readonly<Record<string, string>>,
  services: readonly string[] = [],
): Promise<ServedPlaces> {
  const process = startNode(sampleMain('places'), { args: ['--serve', ...services], env, cwd: sampleFolder('places') });
  await process.waitForLine(/^From another terminal/);
  const addresses = process.lines.flatMap((line) => {
    const [, name, address] = /^(\w+) is served at (\S+)$/.exec(line) ?? [];
    return name === undefined ? [] : [[name, address as string]];
  });
  return { process, addresses: Object.fromEntries(addresses) as Record<string, string> };
}
