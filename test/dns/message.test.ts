import { describe, expect, it } from '@jest/globals';
import { encode } from 'dns-packet';

import { decodeReply, encodeQuery, resultOf } from '../../src/dns/message.ts';
import { a, soa, srv } from './scripted-server.ts';

const query = { id: 0x1234, name: 'g.test', type: 'SRV' } as const;

/** The header of an answer, and the question `g.test SRV`. */
function header(counts: readonly [answers: number, authorities: number, additionals: number]): string {
  const [answers, authorities, additionals] = counts.map((count) => count.toString(16).padStart(4, '0'));
  return `1234 8580 0001 ${answers} ${authorities} ${additionals} 01 67 04 74657374 00 0021 0001`;
}

function bytesOf(hex: string): Buffer {
  return Buffer.from(hex.replaceAll(' ', ''), 'hex');
}

function recordsIn(bytes: Buffer): unknown[] {
  const reply = decodeReply(bytes, query);
  return reply ? resultOf(reply, query).records.map(({ data }) => data) : [];
}

/** A record full of pointers, each to the one before it, and an SRV record whose target is the last of so many. */
function chainOf(pointers: number): string {
  const name = 'c00c';
  // The header, the question, and name, type, class, TTL and length of the first record.
  const start = 12 + 12 + 12;
  const links = Array.from({ length: pointers - 1 }, (_, index) => (index === 0 ? 12 : start + 2 * (index - 1)));
  const data = links.map((to) => (0xc0_00 | to).toString(16)).join('');
  const last = (0xc0_00 | (start + 2 * (links.length - 1))).toString(16);
  const length = (data.length / 2).toString(16).padStart(4, '0');
  const unknown = `${name} fff0 0001 00000000 ${length} ${data}`;
  return `${header([2, 0, 0])} ${unknown} ${name} 0021 0001 0000001e 0008 0000 000a 0fa0 ${last}`;
}

describe('decodeReply', () => {
  it('reads an SRV target that is written out', () => {
    // g.test SRV 0 10 4000 p.g.test, the owner as a pointer to the question.
    const answer = 'c00c 0021 0001 0000001e 0010 0000 000a 0fa0 01 70 01 67 04 74657374 00';
    expect(recordsIn(bytesOf(`${header([1, 0, 0])} ${answer}`))).toEqual([
      { target: 'p.g.test', port: 4_000, priority: 0, weight: 10 },
    ]);
  });

  it('reads an SRV target that is compressed, as a whole or in its end', () => {
    // p.<g.test>, and then only a pointer to that.
    const first = 'c00c 0021 0001 0000001e 000a 0000 000a 0fa0 01 70 c00c';
    const second = 'c00c 0021 0001 0000001e 0008 0000 000a 0fa1 c02a';
    expect(recordsIn(bytesOf(`${header([2, 0, 0])} ${first} ${second}`))).toEqual([
      { target: 'p.g.test', port: 4_000, priority: 0, weight: 10 },
      { target: 'p.g.test', port: 4_001, priority: 0, weight: 10 },
    ]);
  });

  it.each([
    ['a name that points to itself', `${header([1, 0, 0])} c018 0021 0001 0000001e 0008 0000 000a 0fa0 c00c`],
    ['a target that points to itself', `${header([1, 0, 0])} c00c 0021 0001 0000001e 0008 0000 000a 0fa0 c02a`],
    ['a target that points forward', `${header([1, 0, 0])} c00c 0021 0001 0000001e 0008 0000 000a 0fa0 c0ff`],
    ['an unknown kind of label', `${header([1, 0, 0])} c00c 0021 0001 0000001e 0008 0000 000a 0fa0 8001`],
    ['fewer records than it says', header([9, 0, 0])],
    ['more records than any answer needs', header([0xff_ff, 0xff_ff, 0xff_ff])],
    ['a record that is cut off', `${header([1, 0, 0])} c00c 0021 0001 0000001e 0008 00`],
    ['a target behind 128 pointers', chainOf(128)],
    ['an OPT record that is cut off', `${header([0, 0, 1])} 00 0029 04d0 00000000 ffff 0008 0002 0001`],
  ])('throws for an answer with %s', (_, hex) => {
    expect(() => decodeReply(bytesOf(hex), query)).toThrow(expect.objectContaining({ kind: 'malformed' }));
  });

  it('reads a target behind as many pointers as a name can have labels', () => {
    expect(recordsIn(bytesOf(chainOf(127)))).toMatchObject([{ target: 'g.test', port: 4_000 }]);
  });

  it('does not take a label with a dot for two labels', () => {
    const answer = 'c00c 0021 0001 0000001e 0012 0000 000a 0fa0 05 702e672e78 04 74657374 00';
    expect(recordsIn(bytesOf(`${header([1, 0, 0])} ${answer}`))).toMatchObject([{ target: 'p\\.g\\.x.test' }]);
  });

  it.each([
    ['20010db8000000000000000000000001', '2001:db8::1'],
    ['00000000000000000000000000000001', '::1'],
    ['00000000000000000000000000000000', '::'],
    ['fe800000000000000001000200030000', 'fe80::1:2:3:0'],
    ['00010002000300040005000600070008', '1:2:3:4:5:6:7:8'],
  ])('writes the IPv6 address %s as %s', (hex, text) => {
    const six = { ...query, type: 'AAAA' } as const;
    const bytes = bytesOf(`${header([1, 0, 0]).replace('0021 0001', '001c 0001')} c00c 001c 0001 0000001e 0010 ${hex}`);
    const reply = decodeReply(bytes, six);
    expect(reply && resultOf(reply, six).records.map(({ data }) => data)).toEqual([text]);
  });

  it('reads nothing of what is no answer to the query', () => {
    const whole = bytesOf(header([0, 0, 0]));
    expect(decodeReply(whole, query)).toMatchObject({ rcode: 'NOERROR' });
    for (const other of [
      { ...query, id: 1 },
      { ...query, name: 'h.test' },
      { ...query, type: 'A' as const },
    ])
      expect(decodeReply(whole, other)).toBeUndefined();
    for (const length of [0, 1, 11]) expect(decodeReply(whole.subarray(0, length), query)).toBeUndefined();
    expect(decodeReply(encodeQuery(query, true), query)).toBeUndefined();
  });

  it('survives whatever bytes follow a valid header', () => {
    let seed = 7;
    const next = (): number => (seed = (seed * 48_271) % 0x7f_ff_ff_ff) % 256;
    for (let round = 0; round < 1_000; round += 1) {
      const bytes = Buffer.concat([
        bytesOf(header([next() % 4, next() % 4, next() % 4])),
        Buffer.from(Array.from({ length: next() }, next)),
      ]);
      try {
        decodeReply(bytes, query);
      } catch (error) {
        expect(error).toMatchObject({ kind: 'malformed' });
      }
    }
  });

  it('leaves out records that cannot be used: of other classes and types, and aliases that are no names', () => {
    const bytes = encode({
      type: 'response',
      id: query.id,
      questions: [{ name: 'g.test', type: 'SRV', class: 'IN' }],
      answers: [
        { ...srv('g.test', 'p.test', 1), class: 'CH' } as never,
        { type: 'TXT', name: 'g.test', data: 'text' },
        { type: 'CNAME', name: 'g.test', data: 'no name.test' },
        srv('g.test', 'p.test', 2, {}, 0xff_ff_ff_ff),
      ],
      additionals: [a('p.test', '10.0.0.1')],
      authorities: [soa(0xff_ff_ff_ff)],
    });
    const reply = decodeReply(bytes, query);
    expect(reply?.answers).toEqual([
      { name: 'g.test', type: 'SRV', ttlS: 0, data: { target: 'p.test', port: 2, priority: 0, weight: 0 } },
    ]);
    expect(reply?.negativeTtlS).toBe(0);
  });
});
