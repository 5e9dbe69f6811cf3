import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';

import { maskAddress } from '../../src/internal/mask.ts';

describe('maskAddress', () => {
  it.each([
    ['redis://me:secret@10.0.0.1:6379/2', 'redis://***@10.0.0.1:6379/2'],
    ['me:secret@10.0.0.1:6379', '***@10.0.0.1:6379'],
    ['redis:me:secret@10.0.0.1', '***@10.0.0.1'],
    ['redis://10.0.0.1:6379?password=secret', 'redis://10.0.0.1***'],
    ['redis://h:1?password=a@secret', 'redis://***'],
    ['redis://me:p@secret@h:1', 'redis://***@h:1'],
    ['redis://me:sec/ret@h:1', 'redis://***@h:1'],
    ['me:a,secret@h:1', '***@h:1'],
    ['redis://me:secret', 'redis://me***'],
    ['h:6379,password=secret', 'h:6379,password***'],
    ['h:6379#secret', 'h***'],
    ['h:1 secret', 'h***'],
    ['a:1,b:2', 'a:1,b:2'],
    ['[::1]:6379', '[::1]:6379'],
    ['unix:/run/redis.sock', 'unix:/run/redis.sock'],
    ['grcp', 'grcp'],
  ])('masks %j as %j', (address, shown) => expect(maskAddress(address)).toBe(shown));

  it('shows no part of a password, wherever the password stands', () => {
    const secret = fc
      .string({ unit: fc.constantFrom(...Array.from('ZQX@:/?#=&,%; .')), minLength: 6 })
      .map((text) => `Z${text}Z`);
    const places: readonly ((one: string) => string)[] = [
      (one) => `redis://me:${one}@h:1`,
      (one) => `me:${one}@h:1/2`,
      (one) => `redis://h:1/0?password=${one}`,
      (one) => `redis://h:1/?a=b&p=${one}`,
      (one) => `h:1,password=${one}`,
      (one) => `redis://a:${one}@h:1,b:${one}@h:2`,
    ];
    fc.assert(
      fc.property(secret, fc.constantFrom(...places), (one, place) => {
        expect(maskAddress(place(one))).not.toMatch(/[ZQX]/);
      }),
      { numRuns: 5_000 },
    );
  });
});
