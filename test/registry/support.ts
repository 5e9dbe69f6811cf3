import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { afterAll } from '@jest/globals';

import { Code, TenonError } from '../../src/errors/errors.ts';
import { FileRegistry } from '../../src/registry/file.ts';
import { NodeTable } from '../../src/registry/kit/node-table.ts';
import type { NodeRecord, Registry, ServiceRecord } from '../../src/registry/registry.ts';
import type { RegistryHarness } from '../../src/testing/internal/registry-fixture.ts';
import { startNode, type TestProcess } from '../support/process.ts';

const program = fileURLToPath(new URL('./programs/node.mjs', import.meta.url));

/** A process that announces a node of `name`; resolves when it has. */
export async function announcing(
  backend: string,
  options: object,
  name: string,
  id: string,
  ttlMs: number,
): Promise<TestProcess> {
  const args = [backend, JSON.stringify(options), 'announce', name, id, String(ttlMs)];
  const child = startNode(program, { args });
  await child.waitForLine(/^announced$/);
  return child;
}

/** What a process of its own finds. */
export async function foundElsewhere(
  backend: string,
  options: object,
  name: string,
): Promise<readonly ServiceRecord[]> {
  const child = startNode(program, { args: [backend, JSON.stringify(options), 'find', name] });
  const [, json = ''] = await child.waitForLine(/^found (.*)$/);
  return JSON.parse(json) as ServiceRecord[];
}

export function nodeOf(id: string, more: Partial<NodeRecord> = {}): NodeRecord {
  return { id, address: '127.0.0.1:7000', metadata: {}, ...more };
}

export function serviceOf(
  name: string,
  nodes: readonly (string | NodeRecord)[],
  more: Partial<ServiceRecord> = {},
): ServiceRecord {
  const all = nodes.map((node) => (typeof node === 'string' ? nodeOf(node) : node));
  return { name, version: '1.0.0', metadata: {}, endpoints: [], nodes: all, ...more };
}

/** The ids that the registry knows of the service, in order; none if it is not found. */
export async function idsOf(registry: Registry, name: string): Promise<string[]> {
  try {
    const records = await registry.getService(name);
    return records.flatMap(({ nodes }) => nodes.map(({ id }) => id)).sort();
  } catch (error) {
    if (TenonError.from(error).code === Code.NotFound) return [];
    throw error;
  }
}
/** Registries over one file, and what stands in for announcements there. */
export function fileHarness(): RegistryHarness {
  const folder = mkdtempSync(join(tmpdir(), 'tenon-file-'));
  afterAll(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'services.json');
  const table = new NodeTable();
  const write = (): void => {
    writeFileSync(`${path}.new`, JSON.stringify({ services: [...table.nodes()].map(({ service }) => service) }));
    renameSync(`${path}.new`, path);
  };
  write();
  return {
    make: () => new FileRegistry({ address: path, settleMs: 5 }),
    capabilities: FileRegistry.capabilities,
    seed: (service) => {
      for (const node of service.nodes) table.put({ ...structuredClone(service), nodes: [structuredClone(node)] });
      write();
    },
    unseed: ({ name, nodes }) => {
      for (const { id } of nodes) table.remove(name, id);
      write();
    },
  };
}
