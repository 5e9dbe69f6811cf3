import { connect } from 'node:net';
import { inspect } from 'node:util';
import { runInNewContext } from 'node:vm';

import { describe, expect, it } from '@jest/globals';

import { Metadata } from '../../src/context/metadata.ts';
import { errorOf } from '../../src/context/status.ts';
import { Code, nameOfError, TenonError, textOf } from '../../src/errors/errors.ts';
import { counted } from '../../src/internal/counted.ts';
import { isError } from '../../src/internal/is-error.ts';

describe('the message of an AggregateError', () => {
  it('joins the messages of its errors if it has none of its own', () => {
    const refused = ['::1', '127.0.0.1'].map((host) => new Error(`connect ECONNREFUSED ${host}:1`));
    const { message } = TenonError.from(new AggregateError(refused));
    expect(message).toBe('connect ECONNREFUSED ::1:1, connect ECONNREFUSED 127.0.0.1:1');
  });
});

describe('an error of another realm', () => {
  it('has its text, its name and its code, though instanceof Error is false', async () => {
    const error: unknown = runInNewContext('new RangeError("too far")');
    expect(error instanceof Error).toBe(false);
    expect([isError(error), textOf(error), nameOfError(error)]).toEqual([true, 'too far', 'RangeError']);
    // Node's own are such errors within jest.
    const refused = await new Promise((resolve) => connect(1, '127.0.0.1').once('error', resolve));
    expect(isError(refused)).toBe(true);
    expect(textOf(refused)).toBe('connect ECONNREFUSED 127.0.0.1:1');
    const late: unknown = AbortSignal.timeout(0).reason ?? new DOMException('late', 'TimeoutError');
    expect([isError(late), nameOfError(late)]).toEqual([true, 'TimeoutError']);
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
