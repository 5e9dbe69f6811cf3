import { expect, it } from '@jest/globals';

import { Metadata } from '../../src/context/metadata.ts';
import { decodeRichStatus, encodeRichStatus } from '../../src/errors/status-details.ts';
import { Code, TenonError } from '../../src/errors/errors.ts';

it('encodeRichStatus and decodeRichStatus round-trip a status, and Metadata ignores the case of keys', () => {
  expect(new Metadata({ A: 'x' }).get('a')).toBe('x');
  expect(new TenonError({ code: Code.NotFound, message: 'x' })).toBeInstanceOf(TenonError);
  const status = { code: Code.NotFound, message: 'ü', details: [{ type: 'a.B', value: new Uint8Array([1]) }] };
  expect(decodeRichStatus(encodeRichStatus(status))).toEqual(status);
});
