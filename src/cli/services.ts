import { escaped } from '../logger/internal/text.ts';
import type { ServiceRecord } from '../registry/registry.ts';
import { type CliIo, print } from './io.ts';
import {
  columns,
  metadataOf,
  readService,
  readServices,
  type RegistryCommandOptions,
  sorted,
  stateOf,
  withRegistry,
} from './registry.ts';

/** Prints the services of a registry, or the nodes of one. Resolves to the exit code: 1 if a named one has no nodes. */
export async function printServices(
  io: CliIo,
  name: string | undefined,
  options: RegistryCommandOptions,
): Promise<number> {
  const { records, registry } = await withRegistry(io, options, async (one) => ({
    records: sorted(name === undefined ? await readServices(one) : await readService(one, name)),
    registry: String(one),
  }));
  if (options.json === true)
    for (const line of JSON.stringify(records, undefined, 2).split('\n')) print(io, escaped(line));
  else if (records.length > 0) for (const line of linesOf(name, records)) print(io, line);
  if (name !== undefined && records.length === 0) {
    io.stderr.write(`tenon: no node of service "${name}" is known to the ${registry} registry\n`);
    return 1;
  }
  if (records.length === 0 && options.json !== true)
    io.stderr.write(`tenon: the ${registry} registry has no services\n`);
  return 0;
}

function linesOf(name: string | undefined, records: readonly ServiceRecord[]): readonly string[] {
  if (name === undefined)
    return columns([
      ['SERVICE', 'VERSION', 'NODES', 'STATES'],
      ...records.map((record) => [record.name, record.version, String(record.nodes.length), statesOf(record)]),
    ]);
  return columns([
    ['NODE', 'VERSION', 'ADDRESS', 'STATE', 'METADATA'],
    ...records.flatMap(({ version, nodes }) =>
      nodes.map((node) => [node.id, version, node.address, stateOf(node), metadataOf(node)]),
    ),
  ]);
}

/** `2 serving, 1 draining` */
function statesOf({ nodes }: ServiceRecord): string {
  const counts = new Map<string, number>();
  for (const node of nodes) counts.set(stateOf(node), (counts.get(stateOf(node)) ?? 0) + 1);
  return [...counts].map(([state, count]) => `${count} ${state}`).join(', ');
}
