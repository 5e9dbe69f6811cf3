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
  // Topics of MQTT.
  [
    'words between slashes',
    { allowed: /[A-Za-z0-9/ _%-]/, separator: '/', forbids: (text) => text.includes('//') || text.startsWith('/') },
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

  test('writes only characters that the server allows, and decodes to the original', () => {
    fc.assert(
      fc.property(texts, (text) => {
        const encoded = encoding.encode(text);
        for (const character of encoded) expect(rule.allowed.test(character)).toBe(true);
        expect(encoding.decode(encoded)).toBe(text);
      }),
    );
  });

  test('encodes two texts differently', () => {
    fc.assert(
      fc.property(texts, texts, (one, other) => {
        expect(encoding.encode(one) === encoding.encode(other)).toBe(one === other);
      }),
    );
  });

  test('does not decode a text that it would encode differently', () => {
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
])('NameEncoding encodes %s as %s', (text, encoded) => {
  expect(new NameEncoding(rules[0]![1]).encode(text)).toBe(encoded);
});

test.each(['%41', '%zz', '%C3', '%FF%FE', '100%'])(
  'NameEncoding decodes %s, which it did not encode, to itself',
  (text) => {
    expect(new NameEncoding(rules[0]![1]).decode(text)).toBe(text);
  },
);

test('NameEncoding applies maxBytes to the encoded text', () => {
  const encoding = new NameEncoding({ allowed: /[a-z]/, maxBytes: 9 });
  expect(['abcdefghi', 'abcdefghij', 'ééé', 'é'].map((text) => encoding.fits(encoding.encode(text)))).toEqual([
    true,
    false,
    false,
    true,
  ]);
});
