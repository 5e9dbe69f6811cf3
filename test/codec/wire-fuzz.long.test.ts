import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';

import { TenonError } from '../../src/errors/errors.ts';
import { arbitrary, names, tidy } from './arbitraries.ts';
import { typeOf } from './support.ts';

describe.each(names)('decoding damaged bytes of kinds.%s', (name) => {
  const type = typeOf(`kinds.${name}`);

  it('gives a value or an error of the codec', () => {
    const readOrRefuse = (bytesOf: Uint8Array): void => {
      try {
        type.decode(bytesOf);
      } catch (error) {
        expect(error).toBeInstanceOf(TenonError);
        expect((error as TenonError).reason).toBe('codec.decode');
      }
    };
    fc.assert(fc.property(fc.uint8Array({ maxLength: 80 }), readOrRefuse), { numRuns: 1500 });
    fc.assert(
      fc.property(arbitrary(name), fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 4 }), (value, changes) => {
        const changed = Uint8Array.from(type.encode(tidy(value)));
        for (const [at, byte] of changes) if (changed.length > 0) changed[at % changed.length] = byte;
        readOrRefuse(changed);
      }),
      { numRuns: 500 },
    );
  });
});
