import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';

import { NameEncoding, type NameRule } from '../../../src/broker/kit/kit.ts';

const rules: readonly (readonly [string, NameRule])[] = [
  // Subjects of NATS: tokens between dots, none of them empty, no wildcards.
  ['tokens', { allowed: /[!-)+-=?-~]/, forbids: (text) => /^\.|\.\.|\.$/.test(text) }],
  // Topics of Kafka.
  [
    'names',
    { allowed: /[A-Za-z0-9._-]/, escape: '_', forbids: (text) => text === '.' || text === '..', maxBytes: 249 },
  ],
  // Values of HTTP-like headers.
  ['values', { allowed: /[ -~]/ }],
  ['hexadecimal digits and one sign', { allowed: /[0-9A-F=]/, escape: '=' }],
];

describe.each(rules)('the encoding of %s', (_name, rule) => {
  const encoding = new NameEncoding(rule);
  const escape = rule.escape ?? '%';
  const texts = fc.oneof(
    fc.string({ unit: 'binary' }),
    // What looks like an escape already.
    fc.array(fc.constantFrom(escape, '2', '5', 'C', '3', 'é', '.', 'a', ' ', '🦊')).map((parts) => parts.join('')),
  );

  test('writes characters that the server takes, and is read as what was written', () => {
    fc.assert(
      fc.property(texts, (text) => {
        const encoded = encoding.encode(text);
        for (const character of encoded) expect(rule.allowed.test(character)).toBe(true);
        expect(encoding.decode(encoded)).toBe(text);
      }),
    );
  });

  test('writes two texts never in the same way', () => {
    fc.assert(
      fc.property(texts, texts, (one, other) => {
        expect(encoding.encode(one) === encoding.encode(other)).toBe(one === other);
      }),
    );
  });

  test('leaves what others have written as it is, unless it reads the same both ways', () => {
    fc.assert(
      fc.property(texts, (text) => {
        const read = encoding.decode(text);
        expect(read === text || encoding.encode(read) === text).toBe(true);
      }),
    );
  });
});

test.each([
  ['orders.placed', 'orders.placed'],
  ['orders..placed', 'orders%2E%2Eplaced'],
  ['.', '%2E'],
  ['a b', 'a%20b'],
  ['100%', '100%'],
  ['%41', '%2541'],
  ['日', '%E6%97%A5'],
])('%s is written as %s', (text, encoded) => {
  expect(new NameEncoding(rules[0]![1]).encode(text)).toBe(encoded);
});

test.each(['%41', '%zz', '%C3', '%FF%FE', '100%'])('%s, which nobody has encoded, is read as it is', (text) => {
  expect(new NameEncoding(rules[0]![1]).decode(text)).toBe(text);
});

test('a text that is too long once it is encoded does not fit', () => {
  const encoding = new NameEncoding({ allowed: /[a-z]/, maxBytes: 9 });
  expect(['abcdefghi', 'abcdefghij', 'ééé', 'é'].map((text) => encoding.fits(encoding.encode(text)))).toEqual([
    true,
    false,
    false,
    true,
  ]);
});
