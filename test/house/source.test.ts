import { expect, test } from '@jest/globals';

import { blank, sourceFile } from './source.ts';

test('comments, strings, templates and regular expressions are not code', () => {
  const text = [
    "const a = 'Math.random()'; // Math.random()",
    '/* Math.random() */ const b = `Math.random() ${f(`x${1}`)} Math.random()`;',
    "const c = /Math.random('\\/[/]/.test(a) || x / 2 / Math.max(1);",
  ].join('\n');
  const { code, bare } = blank(text);
  expect(bare).toHaveLength(text.length);
  expect(bare).not.toContain('random');
  expect(bare).toContain('f(`');
  expect(bare).toContain('x / 2 / Math.max(1)');
  expect(code).toContain("'Math.random()';  ");
  expect(code).not.toContain('/*');
});

test('imports of every form are seen', () => {
  const { imports } = sourceFile(
    'src/a/b.ts',
    [
      "import 'reflect-metadata';",
      "import type { A } from './a.ts';",
      'import c, {',
      '  type D,',
      '  e as f,',
      "} from '../c/c.ts';",
      "export { g } from './g.ts';",
      "export type { h } from './h.ts';",
      "const i = await import('./i.ts');",
      "type J = typeof import('./j.ts');",
      "// import k from './k.ts';",
      'const l = "import l from \'./l.ts\'";',
    ].join('\n'),
  );
  expect(imports.map(({ specifier, typeOnly, dynamic }) => [specifier, typeOnly, dynamic])).toEqual([
    ['reflect-metadata', false, false],
    ['./a.ts', true, false],
    ['../c/c.ts', false, false],
    ['./g.ts', false, false],
    ['./h.ts', true, false],
    ['./i.ts', false, true],
    ['./j.ts', true, true],
  ]);
  expect(imports[2]).toMatchObject({ names: ['D', 'e'], line: 3 });
});
