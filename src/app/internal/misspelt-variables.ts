import { nearest } from '../../internal/suggest.ts';
import type { Problem } from '../describe.ts';
import { variables } from './variable-list.ts';

const word = 'TENON';
const rests: readonly string[] = variables.map(({ name }) => name.slice(word.length + 1));

/**
 * Lists variables whose prefix is misspelt by one letter or separator (`TENNON_REGISTRY`, `TENON-REGISTRY`) and whose
 * rest is a known name. They may belong to another program, so they are notes, and do not refuse a start.
 */
export function misspeltVariables(env: Readonly<Record<string, string | undefined>>): readonly Problem[] {
  return Object.keys(env).flatMap((name) => {
    const meant = env[name] === undefined ? undefined : nearestVariable(name);
    if (meant === undefined) return [];
    return [
      {
        kind: 'misspelt-variable',
        where: name,
        message: `${name} is set, and tenon does not read it. Did you mean "${meant}"?`,
        fix: `name it ${meant}; or leave it, if it is another program's`,
      },
    ];
  });
}

function nearestVariable(name: string): string | undefined {
  const written = name.toUpperCase().replace(/[^A-Z0-9]+/g, '_');
  // A variable that begins with the prefix itself is refused elsewhere if it is unknown.
  if (name.toUpperCase().startsWith(`${word}_`)) return undefined;
  const rest = written.startsWith(`${word}_`)
    ? nearest(written.slice(word.length + 1), rests)
    : rests.find((one) => written.endsWith(one) && isAlmostPrefix(written.slice(0, -one.length)));
  return rest === undefined ? undefined : `${word}_${rest}`;
}

function isAlmostPrefix(text: string): boolean {
  return nearest(text.replace(/_$/, ''), [word], 1) !== undefined;
}
