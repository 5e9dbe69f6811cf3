import { beforeAll, describe, expect, test } from '@jest/globals';

import {
  type Block,
  blocksOf,
  compile,
  doors,
  type Example,
  examplesOf,
  exportsOf,
  filesBelow,
  pages,
  text,
  type Unit,
} from './support.ts';

/** What a newcomer meets first is shown by example. */
const shownByExample = ['Handler', 'Rpc', 'Subscribe', 'Service', 'run', 'System', 'clientOf', 'contract'];

const wrong: Block = { file: 'wrong', line: 1, info: 'ts', code: "const ok = 1;\nconst count: number = 'many';" };

let blocks: Block[];
let examples: Example[];
let complaints: string[];
/** The sources of the samples. */
let quotable: string[];

beforeAll(async () => {
  const files = await pages();
  blocks = (await Promise.all(files.map(async (file) => blocksOf(file, await text(file))))).flat();
  const sources = await filesBelow('src', '.ts');
  examples = (await Promise.all(sources.map(async (file) => examplesOf(file, await text(file))))).flat();
  const imports = await importsFor(examples);
  quotable = await Promise.all((await filesBelow('samples', '.ts')).map(async (file) => unindented(await text(file))));
  const units: Unit[] = [
    ...blocks.filter((block) => isCode(block) && !isQuoted(block)).map((block) => ({ block })),
    ...examples.map((block, index) => ({ block, prelude: imports[index] })),
    { block: wrong },
  ];
  complaints = await compile(units);
}, 120_000);

describe('code in pages and docstrings', () => {
  test('reaches the compiler, which reports a mistake in it', () => {
    expect(blocks.filter(isCode).length).toBeGreaterThan(10);
    expect(complaints.filter((line) => line.startsWith('wrong:'))).toEqual([
      expect.stringMatching(/^wrong:2: error TS2322/),
    ]);
  });

  test('compiles in every page', () => {
    expect(complaints.filter((line) => /^[^:]*\.md:|^error/.test(line))).toEqual([]);
  });

  test('compiles in every @example', () => {
    expect(complaints.filter((line) => line.startsWith('src/'))).toEqual([]);
  });

  test('is labelled with its language, and not compiled only for a stated reason', () => {
    const otherwise = blocks
      .filter(
        ({ info }) =>
          /^(typescript|tsx|mts|js|javascript|mjs)\b/.test(info) ||
          (/^ts\b/.test(info) && !/^ts( ignore: \S.*)?$/.test(info)),
      )
      .map(({ file, line, info }) => `${file}:${line}: \`\`\`${info}: write \`\`\`ts, or \`\`\`ts ignore: <reason>`);
    expect(otherwise).toEqual([]);
    const empty = examples.filter(({ info, code }) => info !== 'ts' || code.trim() === '');
    expect(empty.map(({ file, line }) => `${file}:${line}: @example without a \`\`\`ts block`)).toEqual([]);
  });

  test('shows each decorator, and each of the first things one uses', () => {
    const shown = new Set(examples.map((example) => example.of));
    expect(shownByExample.filter((name) => !shown.has(name))).toEqual([]);
  });
});

function isCode({ info }: Block): boolean {
  return info === 'ts';
}

/** A block may stand word for word in a source of a sample: there it is compiled, and run, as a part of the sample. */
function isQuoted(block: Block): boolean {
  return quotable.some((source) => source.includes(unindented(block.code)));
}

function unindented(code: string): string {
  return code.replace(/^\s+/gm, '').trimEnd();
}

/** The imports that an example leaves out: what it uses of the package, and of Inversify. */
async function importsFor(shown: readonly Example[]): Promise<string[]> {
  const offered = new Map<string, ReadonlyMap<string, { readonly isType: boolean }>>();
  for (const [door, source] of await doors()) offered.set(door, exportsOf(await text(source).catch(() => '')));
  return shown.map(({ file, code }) => {
    const room = /^src\/([^/]+)\//.exec(file)?.[1] ?? '';
    // What the package's own door does not have comes from the room where the example stands, before all others.
    const rank = (door: string): number =>
      door === 'tenon' ? 0 : door === `tenon/${room}` ? 1 : door.startsWith(`tenon/${room}/`) ? 2 : 3;
    const taken = new Set(
      [...code.matchAll(/\b(?:class|const|let|function|interface|type) (\w+)/g)].map((match) => match[1] as string),
    );
    const lines: string[] = [];
    for (const door of [...offered.keys()].sort((a, b) => rank(a) - rank(b))) {
      const names = [...(offered.get(door) ?? [])].filter(([name]) => !taken.has(name) && usesOf(name).test(code));
      for (const [name] of names) taken.add(name);
      if (names.length > 0)
        lines.push(
          `import { ${names.map(([name, { isType }]) => (isType ? `type ${name}` : name)).join(', ')} } from '${door}';`,
        );
    }
    const ofInversify = ['Container', 'ContainerModule', 'inject', 'injectable', 'optional'].filter(
      (name) => !taken.has(name) && usesOf(name).test(code),
    );
    if (ofInversify.length > 0) lines.push(`import { ${ofInversify.join(', ')} } from 'inversify';`);
    return lines.join(' ');
  });
}

function usesOf(name: string): RegExp {
  return new RegExp(`(?<![.'"\\w])${name}\\b`);
}
