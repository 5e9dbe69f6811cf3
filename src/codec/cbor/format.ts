/** The major types of CBOR (RFC 8949, section 3.1), the upper three bits of a value's first byte. */
export const Major = { Unsigned: 0, Negative: 1, Bytes: 2, Text: 3, List: 4, Map: 5, Tag: 6, Simple: 7 } as const;
/** One of {@link Major}. */
export type Major = (typeof Major)[keyof typeof Major];
