import { describe, expect, test } from '@jest/globals';

import { type CloudEvent, contentOf, readCloudEvent, writeCloudEvent } from '../../src/broker/cloud-events.ts';
import { Code } from '../../src/errors/errors.ts';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const textOf = (data: Uint8Array | undefined): string => new TextDecoder().decode(data);
const event: CloudEvent = {
  id: 'A234-1234-1234',
  source: '/shop/checkout',
  type: 'com.example.order.placed',
  subject: 'größe 🦊',
  time: '2026-04-05T17:31:00Z',
  datacontenttype: 'application/json',
  dataschema: undefined,
  extensions: { traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01' },
  data: bytes('{"total":7}'),
};
const structured = (body: object | string): { headers: Record<string, string>; body: Uint8Array } => ({
  headers: { 'Content-Type': 'application/cloudevents+json; charset=UTF-8' },
  body: bytes(typeof body === 'string' ? body : JSON.stringify(body)),
});

describe('a CloudEvent', () => {
  test('has its attributes in headers in binary mode, and its data as the body', () => {
    const message = writeCloudEvent(event, 'binary', { kept: 'yes' });
    expect(message).toEqual({
      headers: {
        kept: 'yes',
        'ce-specversion': '1.0',
        'ce-id': 'A234-1234-1234',
        'ce-source': '/shop/checkout',
        'ce-type': 'com.example.order.placed',
        'ce-subject': 'größe 🦊',
        'ce-time': '2026-04-05T17:31:00Z',
        'ce-traceparent': '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
        'Content-Type': 'application/json',
      },
      body: event.data,
    });
  });

  test('is one JSON object in structured mode', () => {
    const { headers, body } = writeCloudEvent(event, 'structured', { kept: 'yes' });
    expect(headers).toEqual({ kept: 'yes', 'Content-Type': 'application/cloudevents+json' });
    expect(JSON.parse(textOf(body))).toEqual({
      specversion: '1.0',
      id: 'A234-1234-1234',
      source: '/shop/checkout',
      type: 'com.example.order.placed',
      subject: 'größe 🦊',
      time: '2026-04-05T17:31:00Z',
      traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
      datacontenttype: 'application/json',
      data: { total: 7 },
    });
  });

  test.each(['binary', 'structured'] as const)('is read as it was written: %s', (mode) => {
    expect(readCloudEvent(writeCloudEvent(event, mode))).toEqual(event);
    const ofBytes = { ...event, datacontenttype: 'application/protobuf', data: Uint8Array.of(0, 255, 10) };
    const read = readCloudEvent(writeCloudEvent(ofBytes, mode));
    expect({ ...read, data: [...(read?.data ?? [])] }).toEqual({ ...ofBytes, data: [0, 255, 10] });
  });

  test('keeps data that is no JSON although its content type says so', () => {
    const broken = { ...event, data: bytes('{') };
    expect(textOf(readCloudEvent(writeCloudEvent(broken, 'structured'))?.data)).toBe('{');
  });

  test.each([
    ['text', { datacontenttype: 'text/plain', data: 'hello' }, 'hello'],
    ['a text of JSON', { data: 'hello' }, '"hello"'],
    ['base64', { datacontenttype: 'image/png', data_base64: 'aGVsbG8=' }, 'hello'],
    ['null', { data: null }, 'null'],
    ['none', {}, ''],
    ['JSON beside a content type that is null', { datacontenttype: null, data: 1 }, '1'],
  ])('of another program has its data as %s', (_name, content, data) => {
    const read = readCloudEvent(structured({ specversion: '1.0', id: '1', source: '/', type: 't', n: 7, ...content }));
    expect([textOf(read?.data), read?.extensions]).toEqual([data, { n: '7' }]);
  });

  test.each(['ce-', 'ce_', 'cloudEvents:', 'cloudEvents_'])('of another program has attributes under %s', (prefix) => {
    const attributes = { specversion: '1.0', id: '1', source: '/shop', type: 'placed', region: 'eu' };
    const headers = Object.fromEntries(Object.entries(attributes).map(([name, value]) => [prefix + name, value]));
    const message = { headers: { ...headers, 'content-type': 'text/plain', center: 'x' }, body: bytes('hello') };
    expect(readCloudEvent(message)).toMatchObject({ id: '1', type: 'placed', extensions: { region: 'eu' } });
    expect(contentOf(message)).toEqual({ contentType: 'text/plain', body: bytes('hello') });
  });

  test('is none without its headers', () => {
    expect(readCloudEvent({ headers: { 'Content-Type': 'application/json' }, body: bytes('{}') })).toBeUndefined();
  });

  test.each([
    ['no JSON', structured('{')],
    ['a list', structured('[]')],
    ['another version', structured({ specversion: '0.3', id: '1', source: '/', type: 't' })],
    ['no id', structured({ specversion: '1.0', source: '/', type: 't' })],
    ['an attribute that is an object', structured({ specversion: '1.0', id: {}, source: '/', type: 't' })],
    ['a content type that is a number in a list', structured({ specversion: '1.0', datacontenttype: [1] })],
    ['data twice', structured({ specversion: '1.0', id: '1', source: '/', type: 't', data: 1, data_base64: '' })],
    ['no source', { headers: { 'ce-specversion': '1.0', 'ce-id': '1', 'ce-type': 't' }, body: bytes('') }],
  ])('cannot be read from %s', (_name, message) => {
    expect(() => readCloudEvent(message)).toThrow(
      expect.objectContaining({ code: Code.InvalidArgument, reason: 'broker.invalid_cloud_event' }),
    );
  });

  test.each([
    ['an empty id', { id: '' }],
    ['an extension with a capital', { extensions: { Trace: 'x' } }],
    ['an extension with the name of an attribute', { extensions: { specversion: '2.0' } }],
  ])('cannot be written with %s', (_name, change) => {
    for (const mode of ['binary', 'structured'] as const)
      expect(() => writeCloudEvent({ ...event, ...change }, mode)).toThrow(/a CloudEvent cannot be read or written/);
  });

  test('gives a codec its data', () => {
    const { contentType, body } = contentOf(writeCloudEvent(event, 'structured'));
    expect([contentType, textOf(body)]).toEqual(['application/json', '{"total":7}']);
    expect(contentOf(structured({ specversion: '1.0', id: '1', source: '/', type: 't', data: 1 })).contentType).toBe(
      'application/json',
    );
    expect(contentOf(writeCloudEvent(event, 'binary'))).toEqual({ contentType: 'application/json', body: event.data });
  });
});
