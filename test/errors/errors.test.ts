import { inspect } from 'node:util';

import { describe, expect, it } from '@jest/globals';

import { Metadata } from '../../src/context/metadata.ts';
import { errorOf } from '../../src/context/status.ts';
import { Code, TenonError } from '../../src/errors/errors.ts';
import { counted } from '../../src/internal/counted.ts';

describe('the message of an AggregateError', () => {
  it('joins the messages of its errors if it has none of its own', () => {
    const refused = ['::1', '127.0.0.1'].map((host) => new Error(`connect ECONNREFUSED ${host}:1`));
    const { message } = TenonError.from(new AggregateError(refused));
    expect(message).toBe('connect ECONNREFUSED ::1:1, connect ECONNREFUSED 127.0.0.1:1');
  });
});

describe('a TenonError in util.inspect', () => {
  const error = new TenonError({
    code: Code.Unavailable,
    reason: 'shop.closed',
    message: 'come again',
    cause: new Error('night'),
  });

  it('shows its code by name, and leaves out empty properties', () => {
    const shown = inspect(error);
    expect(shown).toContain("code: 'UNAVAILABLE'");
    expect(shown).toContain("reason: 'shop.closed'");
    expect(shown).toContain('Error: night');
    expect(shown).not.toMatch(/details|metadata|code: 14/);
    expect(JSON.parse(JSON.stringify(error))).toEqual({
      name: 'TenonError',
      message: 'come again',
      code: 'UNAVAILABLE',
      reason: 'shop.closed',
    });
    expect(error.code).toBe(14);
  });

  it('shows no headers of the transport in the metadata of a status that arrived', () => {
    const trailers = { date: 'today', 'content-type': 'application/grpc', 'grpc-accept-encoding': 'gzip', why: 'so' };
    const { metadata } = errorOf({ code: Code.Aborted, message: '', metadata: new Metadata(trailers) });
    expect(metadata).toEqual({ why: 'so' });
  });
});

describe('counted', () => {
  it('takes the singular for one', () => {
    expect([counted(1, 'call'), counted(2, 'call'), counted(1, 'call is', 'calls are')]).toEqual([
      '1 call',
      '2 calls',
      '1 call is',
    ]);
  });
});
