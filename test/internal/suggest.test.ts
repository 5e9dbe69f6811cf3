import { describe, expect, it } from '@jest/globals';

import { didYouMean, nearest } from '../../src/internal/suggest.ts';

/** Counts the candidates that were looked at. */
function counted(count: number, name: (index: number) => string): { readonly names: Iterable<string>; read: number } {
  const state = {
    read: 0,
    names: {
      *[Symbol.iterator]() {
        for (let index = 0; index < count; index += 1) {
          state.read += 1;
          yield name(index);
        }
      },
    },
  };
  return state;
}

describe('suggestions', () => {
  it('name the nearest candidate', () => {
    expect(didYouMean('nmae', ['id', 'name', 'names'])).toBe(' Did you mean "name"?');
    expect(didYouMean('TENON_TRANSPRT', ['TENON_CODEC', 'TENON_TRANSPORT'])).toBe(' Did you mean "TENON_TRANSPORT"?');
    expect(didYouMean('x', ['something', 'else'])).toBe('');
  });

  it('compare a name above the limit of length with no candidate', () => {
    const candidates = counted(10, () => 'a'.repeat(70));
    expect(nearest('a'.repeat(65), candidates.names)).toBeUndefined();
    expect(candidates.read).toBe(0);
  });

  it('compare a name with a bounded number of candidates', () => {
    const candidates = counted(100_000, (index) => String(index).padStart(60, 'x'));
    nearest('y'.repeat(60), candidates.names);
    expect(candidates.read).toBeLessThan(100);
  });

  it('return what was found within the bound', () => {
    const candidates = counted(100_000, (index) => (index === 5 ? `${'y'.repeat(59)}z` : 'x'.repeat(60)));
    expect(nearest('y'.repeat(60), candidates.names)).toBe(`${'y'.repeat(59)}z`);
    expect(candidates.read).toBeLessThan(100);
  });
});
