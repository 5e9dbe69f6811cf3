import { existsSync } from 'node:fs';

import { describeWith } from './require.ts';

const folder = new URL('../../.tools/bin/', import.meta.url);

/** Where a program that `scripts/go-tools.sh` or `scripts/python-tools.sh` makes is. */
export function toolPath(name: string): string {
  return new URL(name, folder).pathname;
}

/**
 * A `describe` for tests that speak with programs of others: without them they are skipped, and where they are required
 * they fail.
 */
export function describeWithTools(name: string, tools: readonly string[], define: () => void): void {
  const absent = tools.filter((tool) => !existsSync(toolPath(tool)));
  const remedy = 'scripts/go-tools.sh makes them, with Go, and scripts/python-tools.sh those of Python';
  const missing = absent.length === 0 ? undefined : `there is no ${absent.join(', no ')} (${remedy})`;
  describeWith(name, 'interop', missing, define);
}
