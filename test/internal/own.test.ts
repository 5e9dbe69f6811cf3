import { describe, expect, it } from '@jest/globals';

import { Metadata } from '../../src/context/metadata.ts';
import { errorOf, statusOf } from '../../src/context/status.ts';
import { DebugInfo, debugInfo } from '../../src/errors/details.ts';
import { Code } from '../../src/errors/errors.ts';
import { ownValue, setOwn } from '../../src/internal/own.ts';

const inherited = ['__proto__', 'constructor', 'toString', 'hasOwnProperty', 'valueOf'];

describe('ownValue and setOwn', () => {
  it('find no property that an object inherits', () => {
    for (const key of inherited) expect(ownValue({}, key)).toBeUndefined();
  });

  it('set keys of prototypes as ordinary keys', () => {
    const object: Record<string, string> = {};
    for (const key of inherited) setOwn(object, key, key);
    expect(Object.keys(object)).toEqual(inherited);
    expect(Object.getPrototypeOf(object)).toBe(Object.prototype);
    for (const key of inherited) expect(ownValue(object, key)).toBe(key);
  });

  it('keep keys of prototypes in the metadata of an error that arrived as trailers', () => {
    const metadata = new Metadata();
    for (const key of inherited) metadata.append(key, 'v');
    const error = errorOf({ code: Code.Internal, message: 'm', metadata });
    expect(Object.keys(error.metadata)).toEqual(inherited.map((key) => key.toLowerCase()));
    const again = statusOf(error).metadata;
    for (const key of inherited) expect(again?.getAll(key)).toEqual(['v']);
  });
});

describe('details of errors', () => {
  it('decode many entries without copying the list for each', () => {
    const stackEntries = Array.from({ length: 50_000 }, () => 'x');
    expect(DebugInfo.decode(debugInfo({ stackEntries }).value)?.stackEntries).toHaveLength(50_000);
  });
});
