import { readFileSync } from 'node:fs';

import { describe, expect, test } from '@jest/globals';

import { filesBelow, lineAt, roomOf, type SourceFile, sourceFile, sourcesBelow } from './source.ts';

const width = 120;

/** Rooms whose doc comments have not been gone through. */
const unread: ReadonlySet<string> = new Set([]);

/** Doc comments that begin with a question instead of what the thing is or does. */
function questions({ path, text }: SourceFile): string[] {
  return [...text.matchAll(/\/\*\*\s*(?:\*\s*)?((?:What|How|Who|Whose|Whether|Why)\b[^\n]*)/g)].map(
    (match) => `${path}:${lineAt(text, match.index)}: ${match[1]}: say what it is or does`,
  );
}

function wideComments({ path, text }: SourceFile): string[] {
  return text
    .split('\n')
    .flatMap((line, index) =>
      line.length > width && /^\s*(?:\/\/|\/\*|\*)/.test(line) ? [`${path}:${index + 1}: ${line.length} columns`] : [],
    );
}

/** Lines of prose: neither of code, nor of a table, a heading, a link's target or HTML. */
function widePages(path: string, text: string): string[] {
  let isInCode = false;
  return text.split('\n').flatMap((line, index) => {
    if (/^\s*```/.test(line)) isInCode = !isInCode;
    const isProse = !isInCode && !/^\s*(?:\||#|<|>|!\[|\[[^\]]+\]:)/.test(line);
    return isProse && line.length > width && line.trim().includes(' ') ? [`${path}:${index + 1}: ${line.length}`] : [];
  });
}

const code = ['src', 'test', 'samples'].flatMap(sourcesBelow);
const pages = [
  'README.md',
  'CHANGELOG.md',
  'CONTRIBUTING.md',
  ...['docs', 'bench'].flatMap(filesBelow).filter((path) => path.endsWith('.md') && !path.startsWith('docs/api/')),
];

describe('sentences', () => {
  test('a doc comment says what the thing is or does', () => {
    const read = sourcesBelow('src').filter((file) => !unread.has(roomOf(file.path)));
    expect(read.flatMap(questions)).toEqual([]);
    expect(questions(sourceFile('src/app/x.ts', '/** What a user wants. */\nconst a = 1;'))).toHaveLength(1);
    expect(questions(sourceFile('src/app/x.ts', '/**\n * Whether it is on.\n */\nconst a = 1;'))).toHaveLength(1);
    expect(questions(sourceFile('src/app/x.ts', '/** True if it is on. */\nconst a = 1;'))).toEqual([]);
  });

  test(`a line of comment ends at ${width} columns`, () => {
    expect(code.flatMap(wideComments)).toEqual([]);
    expect(wideComments(sourceFile('src/app/x.ts', `// ${'x '.repeat(60)}`))).toHaveLength(1);
  });

  test(`a line of prose in a page ends at ${width} columns`, () => {
    expect(pages.flatMap((path) => widePages(path, readFileSync(path, 'utf8')))).toEqual([]);
    expect(widePages('x.md', 'x '.repeat(61))).toHaveLength(1);
    expect(widePages('x.md', `| ${'x '.repeat(61)}|\n\`\`\`\n${'x '.repeat(61)}\n\`\`\``)).toEqual([]);
  });
});
