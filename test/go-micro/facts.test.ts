import { describe, expect, it } from '@jest/globals';

import { Code, TenonError } from '../../src/errors/errors.ts';
import { isForwarded, readTimeout, writeTimeout } from '../../src/go-micro/call-headers.ts';
import { firstMicroError, fromMicroForm, toMicroForm } from '../../src/go-micro/errors.ts';
import { readEnvelope, writeEnvelope } from '../../src/go-micro/event-envelope.ts';
import { MicroError } from '../../src/go-micro/go-micro.ts';
import { decompressTxt, encodeTxtFields } from '../../src/go-micro/mdns.ts';
import { callPath, endpointName, shortPath } from '../../src/go-micro/paths.ts';
import { fieldType } from '../../src/go-micro/records.ts';

describe('paths of Go Micro', () => {
  it.each([
    ['/any.package.Greeter/Hello', '/Greeter/Hello', '/go.micro.srv.greeter.Greeter/Hello'],
    ['/Greeter/Hello', '/Greeter/Hello', '/go.micro.srv.greeter.Greeter/Hello'],
    ['/greeter.Greeter/v1.Hello', '/Greeter/v1.Hello', '/go.micro.srv.greeter.Greeter/v1.Hello'],
  ])('of %s are %s and %s', (path, short, full) => {
    expect(shortPath(path)).toBe(short);
    expect(callPath('go.micro.srv.greeter', path)).toBe(full);
    expect(callPath('', path)).toBe(short);
  });

  it('name the endpoint in the registry by type and method', () => {
    expect(endpointName('any.package.Greeter', 'Hello')).toBe('Greeter.Hello');
  });
});

describe('headers of a call of Go Micro', () => {
  it('say a time-out in nanoseconds, of whole milliseconds and never below zero', () => {
    expect([writeTimeout(9_999.6), writeTimeout(-5), writeTimeout(0.2)]).toEqual(['10000000000', '0000000', '0000000']);
    expect(readTimeout('9999977106')).toBeCloseTo(9_999.977106);
    expect(readTimeout(writeTimeout(30_000))).toBe(30_000);
  });

  it.each([undefined, '', '-1', '1s', '1.5', '12345678901234567890'])('give no time-out of %s', (text) => {
    expect(readTimeout(text)).toBeUndefined();
  });

  it('go on to the next call, but for those that belong to the one that is over', () => {
    const keys = ['authorization', 'x-trace', 'timeout', 'x-content-type', 'grpc-timeout', ':path', 'user-agent'];
    expect(keys.filter(isForwarded)).toEqual(['authorization', 'x-trace']);
  });
});

describe('errors in the form of Go Micro', () => {
  const error = new TenonError({ code: Code.NotFound, reason: 'greeter.gone', message: 'a < b' });

  it('have the error as the first detail, and as JSON in the message', () => {
    const told = toMicroForm(error, 'greeter');
    const micro = { id: 'greeter.gone', code: 404, detail: 'a < b', status: 'Not Found' };
    expect(firstMicroError(told.details)).toEqual(micro);
    expect(told.message).toContain('a \\u003c b');
    expect(JSON.parse(told.message)).toEqual(micro);
  });

  it('are read from the message where there is no detail, and otherwise left alone', () => {
    const { message } = toMicroForm(error, 'greeter');
    const bare = fromMicroForm(new TenonError({ code: Code.Unknown, message }));
    expect(bare).toMatchObject({ code: Code.NotFound, message: 'a < b' });
    expect(firstMicroError(bare.details)?.id).toBe('greeter.gone');
    const detailed = new TenonError({
      code: Code.Unknown,
      message,
      details: [{ type: 'x.Y', value: new Uint8Array() }],
    });
    expect(fromMicroForm(detailed)).toBe(detailed);
    expect(firstMicroError(detailed.details)).toBeUndefined();
    expect(MicroError.decode(Uint8Array.of(0xff))).toBeUndefined();
  });
});

describe('the envelope of an event', () => {
  it('gives back what was put in, with the topic', () => {
    const envelope = writeEnvelope('things', { colour: 'blue' }, Buffer.from('hello'));
    const content = readEnvelope(Buffer.from(envelope));
    expect(content?.headers).toEqual({ 'Micro-Topic': 'things', colour: 'blue' });
    expect(Buffer.from(content?.body ?? []).toString()).toBe('hello');
  });

  it.each(['{', '{"Body":1}', '{"Header":[]}', '{"Header":{},"Other":1}', '{}'])('is not %s', (text) => {
    expect(readEnvelope(Buffer.from(text))).toBeUndefined();
  });
});

describe('records of Go Micro', () => {
  it.each([
    ['double', false, false, 'float64'],
    ['sint64', true, false, '[]int64'],
    ['bytes', false, false, '[]uint8'],
    ['bytes', true, false, '[]'],
    ['string', false, true, ''],
    ['places.v1.Colour', false, false, 'Colour'],
  ])('call a field of %s (repeated: %s, map: %s) %j', (type, repeated, map, expected) => {
    expect(fieldType({ type, repeated, map })).toBe(expected);
  });

  it('are compressed in TXT data, and read within a bound', () => {
    const fields = { Metadata: { zone: 'eu' }, Service: 'greeter', Version: '1', Endpoints: [] };
    const text = encodeTxtFields(fields);
    expect(text).toMatch(/^[0-9a-f]+$/);
    expect(JSON.parse(decompressTxt(text, 1_024).toString())).toEqual(fields);
    expect(() => decompressTxt(text, 8)).toThrow();
  });
});
