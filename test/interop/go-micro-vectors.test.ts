import { readFileSync } from 'node:fs';
import type { ServerHttp2Stream } from 'node:http2';

import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';

import { JsonMarshaler } from '../../src/codec/json.ts';
import { loadProto, ProtoMarshaler } from '../../src/codec/proto.ts';
import { MicroError } from '../../src/go-micro/go-micro.ts';
import { TenonError } from '../../src/errors/errors.ts';
import { findDetail } from '../../src/errors/details.ts';
import { decodeRichStatus } from '../../src/errors/status-details.ts';
import type { MethodDescriptor } from '../../src/pipeline/pipeline.ts';
import type { RpcServer } from '../../src/server/rpc-server.ts';
import type { EndpointRecord, ServiceRecord, ValueRecord } from '../../src/registry/registry.ts';
import type { Parts } from '../../src/testing/internal/parts.ts';
import { grpcNames, grpcTransport, rawCall, rawServer, rawSession } from '../transport/support.ts';
import { allTypes, clientOf, greeter, parts, serverOf, service } from './go-micro/greeter.ts';

type Header = readonly [name: string, value: string];

interface Event {
  readonly from: 'client' | 'server';
  readonly headers?: readonly Header[];
  readonly trailers?: readonly Header[];
  readonly data_hex?: string;
}

interface Capture {
  readonly produced_by: string;
  readonly cases: Readonly<Record<string, readonly { readonly events: readonly Event[] }[]>>;
}

/** One call of Go Micro's client and the answer of its server, as they were on the wire. */
class Exchange {
  readonly name: string;
  readonly request: Readonly<Record<string, string>>;
  readonly requests: readonly Buffer[];
  /** Without the trailers; of an answer that is nothing but its status, the status. */
  readonly response: Readonly<Record<string, string>>;
  readonly responses: readonly Buffer[];
  readonly trailers: Readonly<Record<string, string>> | undefined;

  constructor(name: string, events: readonly Event[]) {
    const of = (from: Event['from']): readonly Event[] => events.filter((event) => event.from === from);
    const bodies = (from: Event['from']): Buffer[] =>
      of(from).flatMap(({ data_hex: hex }) => (hex === undefined ? [] : [Buffer.from(hex, 'hex')]));
    const trailers = of('server').find((event) => event.trailers)?.trailers;
    this.name = name;
    this.request = Object.fromEntries(of('client').find((event) => event.headers)?.headers ?? []);
    this.response = Object.fromEntries(of('server').find((event) => event.headers)?.headers ?? []);
    this.requests = bodies('client');
    this.responses = bodies('server');
    this.trailers = trailers && Object.fromEntries(trailers);
  }

  get isJson(): boolean {
    return this.request['content-type'] === 'application/grpc+json';
  }

  get method(): MethodDescriptor | undefined {
    const name = this.request[':path']?.split('/')[2];
    return greeter.methods.find(({ method }) => method === name);
  }

  /** What the call ended with. */
  get status(): Readonly<Record<string, string>> {
    return this.trailers ?? this.response;
  }
}

function fileOf<T>(name: string): T {
  return JSON.parse(readFileSync(new URL(`./go-micro/${name}`, import.meta.url), 'utf8')) as T;
}

const captures = fileOf<{ readonly captures: readonly Capture[] }>('grpc.json').captures.map(
  ({ produced_by: by, cases }) => {
    const exchanges = Object.entries(cases).flatMap(([name, streams]) =>
      streams.map(({ events }, index) => new Exchange(streams.length > 1 ? `${name} ${index + 1}` : name, events)),
    );
    return [by.includes('v5') ? 'v5' : 'v4', exchanges] as const;
  },
);

const proto = new ProtoMarshaler();
const json = new JsonMarshaler();

/** A framed message as a value. */
function valueOf(exchange: Exchange, side: 'input' | 'output', framed: Buffer): unknown {
  const schema = (exchange.method as MethodDescriptor)[side];
  return (exchange.isJson ? json : proto).unmarshal(schema, framed.subarray(5));
}

/** The messages of a whole direction. */
function split(data: Buffer): Buffer[] {
  const messages: Buffer[] = [];
  for (let at = 0; at < data.length; at += 5 + data.readUInt32BE(at + 1)) {
    messages.push(data.subarray(at, at + 5 + data.readUInt32BE(at + 1)));
  }
  return messages;
}

function statusIn(headers: Readonly<Record<string, string | string[] | undefined>>): unknown {
  const details = headers['grpc-status-details-bin'];
  const message = String(headers['grpc-message'] ?? '');
  return {
    status: String(headers['grpc-status']),
    // Go writes an empty one, and gRPC lets it be left out.
    message: decodeURIComponent(message),
    details: typeof details === 'string' ? decodeRichStatus(Buffer.from(details, 'base64')) : undefined,
  };
}

// What a server says in words of its own: unknown methods, what it was never meant to tell, and which headers its
// handlers see.
const ownWords = ['fail-plain', 'unknown-method', 'meta', 'timeout'];

describe.each(captures)("recorded calls between Go Micro's client and server, %s", (_version, exchanges) => {
  const called = exchanges.filter(({ request }) => request[':path'] !== undefined);

  it('are more than fifteen', () => {
    expect(called.length).toBeGreaterThan(15);
  });

  describe.each(grpcNames)('a server of tenon on %s', (engine) => {
    let made: Parts;
    let server: RpcServer;

    beforeAll(async () => {
      made = parts(grpcTransport(engine));
      server = serverOf(made);
      await server.start();
    });

    afterAll(async () => {
      await server.stop();
      await made.transport.close();
    });

    it.each(
      called.filter(({ name }) => !ownWords.includes(name)).map((exchange) => [exchange.name, exchange] as const),
    )('answers the recorded request as Go Micro did: %s', async (_name, exchange) => {
      const { ':path': path = '', ...headers } = exchange.request;
      const more = Object.fromEntries(Object.entries(headers).filter(([name]) => !name.startsWith(':')));
      const session = rawSession(server.address!);
      const answer = await rawCall(session, path, Buffer.concat(exchange.requests), more);
      session.close();
      const ended = answer.trailers ?? answer.headers;
      expect(statusIn(ended)).toEqual(statusIn(exchange.status));
      // Not only the same values: grpc-js pads base64, and its padding is made up for.
      if (engine === 'grpc') expect(ended['grpc-status-details-bin']).toBe(exchange.status['grpc-status-details-bin']);
      expect(answer.headers['content-type']).toBe(
        engine === 'grpc' ? exchange.response['content-type'] : 'application/grpc+proto',
      );
      const decode = (framed: Buffer): unknown => valueOf(exchange, 'output', framed);
      expect(split(answer.data).map(decode)).toEqual(exchange.responses.map(decode));
    });
  });

  describe('a client of tenon', () => {
    // Bytes that are no message need a codec of their own here.
    const made = called.filter(({ name, method }) => method && name !== 'timeout' && !name.includes('octet-stream'));

    it.each(made.map((exchange) => [exchange.name, exchange] as const))(
      'sends the recorded request, and reads the recorded answer: %s',
      async (_name, exchange) => {
        const seen: { headers: Record<string, unknown>; data: Promise<Buffer> }[] = [];
        const server = await rawServer((stream, _cut, headers) => {
          seen.push({ headers, data: dataOf(stream) });
          replay(stream, exchange);
        });
        const { transport, ...rest } = parts();
        try {
          const method = exchange.method as MethodDescriptor;
          const call = clientOf({ transport, ...rest }).method(method, service);
          const inputs = exchange.requests.map((framed) => valueOf(exchange, 'input', framed));
          const isBidi = method.kind === 'bidi';
          const options = {
            address: server.address,
            timeoutMs: 10_000,
            contentType: exchange.request['x-content-type'],
            metadata: Object.fromEntries(
              ['x-trace-id', 'tenant'].flatMap((key) =>
                key in exchange.request ? [[key, exchange.request[key]]] : [],
              ),
            ),
          };
          const outcome = await outcomeOf(call(isBidi ? inputs : inputs[0], options));
          const expected = exchange.responses.map((framed) => valueOf(exchange, 'output', framed));
          expect(outcome.values).toEqual(expected);
          expect(errorIn(outcome.error)).toEqual(expectedError(exchange));

          const [sent] = seen;
          const { 'x-content-type': contentType, timeout, ':path': path } = sent!.headers;
          expect({ contentType, path, hasTimeout: timeout !== undefined }).toEqual({
            contentType: exchange.request['x-content-type'],
            path: exchange.request[':path'],
            hasTimeout: 'timeout' in exchange.request,
          });
          if (typeof timeout === 'string') expect(Number(timeout)).toBeLessThanOrEqual(10e9);
          expect(sent!.headers).toMatchObject(options.metadata);
          if (isBidi) return;
          const requests = split(await sent!.data).map((framed) => valueOf(exchange, 'input', framed));
          expect(requests).toEqual(inputs);
        } finally {
          await transport.close();
          await server.close();
        }
      },
    );
  });
});

function dataOf(stream: ServerHttp2Stream): Promise<Buffer> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    stream.on('data', (chunk: Buffer) => chunks.push(chunk));
    stream.on('end', () => resolve(Buffer.concat(chunks)));
  });
}

function replay(stream: ServerHttp2Stream, { response, responses, trailers }: Exchange): void {
  if (!trailers) {
    stream.respond(response, { endStream: true });
    return;
  }
  stream.respond(response, { waitForTrailers: true });
  stream.on('wantTrailers', () => stream.sendTrailers(trailers));
  stream.end(Buffer.concat(responses));
}

async function outcomeOf(result: unknown): Promise<{ values: unknown[]; error?: TenonError }> {
  const values: unknown[] = [];
  try {
    if (typeof (result as AsyncIterable<unknown>)[Symbol.asyncIterator] === 'function') {
      for await (const value of result as AsyncIterable<unknown>) values.push(value);
    } else {
      values.push(await result);
    }
    return { values };
  } catch (error) {
    return { values, error: TenonError.from(error) };
  }
}

function errorIn(error: TenonError | undefined): unknown {
  return error && { code: error.code, message: error.message, micro: findDetail(error, MicroError) };
}

function expectedError({ status }: Exchange): unknown {
  if (status['grpc-status'] === '0') return undefined;
  const message = decodeURIComponent(status['grpc-message'] ?? '');
  const micro = message.startsWith('{') ? (JSON.parse(message) as MicroError) : undefined;
  return { code: Number(status['grpc-status']), message: micro?.detail ?? message, micro };
}

describe('MicroError in the details of a recorded status', () => {
  const all = captures.flatMap(([version, exchanges]) =>
    exchanges
      .filter(({ status }) => status['grpc-status-details-bin'] !== undefined)
      .map((exchange) => [`${version} ${exchange.name}`, exchange] as const),
  );

  it.each(all)('round-trips: %s', (_name, { status }) => {
    const rich = decodeRichStatus(Buffer.from(status['grpc-status-details-bin'] as string, 'base64'));
    expect(rich?.code).toBe(Number(status['grpc-status']));
    expect(rich?.message).toBe(decodeURIComponent(status['grpc-message'] as string));
    expect(rich?.details.map(({ type }) => type)).toEqual(['errors.Error']);
    const value = rich?.details[0]?.value as Uint8Array;
    const micro = MicroError.decode(value) as MicroError;
    expect(micro).toEqual(JSON.parse(rich?.message as string));
    expect(Buffer.from(MicroError.encode(micro))).toEqual(Buffer.from(value));
  });
});

describe('one message in every encoding of Go Micro', () => {
  const { cases } = fileOf<{
    cases: readonly { produced_by: string; codec: string; hex?: string; text?: string }[];
  }>('codec.json');
  const schema = (greeter.methods.find(({ method }) => method === 'Echo') as MethodDescriptor).input;
  const readable = cases.filter(({ codec }) => !codec.includes('encoding/json'));

  it.each(readable.map((one) => [`${one.codec}, ${one.produced_by}`, one] as const))(
    'is decoded, and encoded as it was: %s',
    (_name, { hex, text }) => {
      if (hex === undefined) {
        const value = json.unmarshal(schema, Buffer.from(text as string));
        expect(value).toEqual(allTypes);
        // Of the two styles of names that Go reads, ours is the one of its clients.
        const ours = JSON.parse(Buffer.from(json.marshal(schema, value)).toString()) as Record<string, unknown>;
        const theirs = JSON.parse(text as string) as Record<string, unknown>;
        const camelCase = (name: string): string =>
          name.replace(/_(\w)/g, (_all, letter: string) => letter.toUpperCase());
        expect(ours).toEqual(Object.fromEntries(Object.entries(theirs).map(([name, one]) => [camelCase(name), one])));
        return;
      }
      const message = Buffer.from(hex, 'hex').subarray(5);
      expect(proto.unmarshal(schema, message)).toEqual(allTypes);
      // Fields and the entries of a map may come in any order, so that only their number is the same.
      expect(proto.marshal(schema, allTypes)).toHaveLength(message.length);
      expect(proto.unmarshal(schema, proto.marshal(schema, allTypes))).toEqual(allTypes);
    },
  );
});

interface GoValue {
  readonly name: string;
  readonly type: string;
  readonly values: readonly GoValue[] | null;
}

interface GoEndpoint {
  readonly name: string;
  readonly request: GoValue | null;
  readonly response: GoValue | null;
  readonly metadata: Readonly<Record<string, string>>;
}

describe('the registry record of a service', () => {
  const { records } = fileOf<{ records: readonly { produced_by: string; value: string }[] }>('record.json');

  it.each(records.map(({ produced_by: by, value }) => [by, value] as const))(
    'describes endpoints and node as %s does',
    async (_by, text) => {
      const theirs = JSON.parse(text) as { endpoints: readonly GoEndpoint[]; nodes: readonly { metadata: object }[] };
      const ours = await registered();
      expect(ours.endpoints.map(({ name }) => name)).toEqual(theirs.endpoints.map(({ name }) => name));
      expect(ours.endpoints.map(({ metadata }) => metadata)).toEqual(theirs.endpoints.map(({ metadata }) => metadata));
      for (const theirEndpoint of theirs.endpoints) {
        const endpoint = ours.endpoints.find(({ name }) => name === theirEndpoint.name) as EndpointRecord;
        // Of a stream Go says `Context` and `Stream`, which is of no use to anybody.
        if (endpoint.metadata['stream']) continue;
        expect(withNulls(endpoint.request)).toEqual(withoutOneofs(theirEndpoint.request));
        expect(withNulls(endpoint.response)).toEqual(withoutOneofs(theirEndpoint.response));
      }
      expect(ours.nodes[0]?.metadata).toEqual({
        broker: 'memory',
        registry: 'memory',
        server: 'grpc',
        transport: 'grpc',
        protocol: 'grpc',
      });
      expect(Object.keys(theirs.nodes[0]?.metadata ?? {})).toEqual(
        expect.arrayContaining(Object.keys(ours.nodes[0]!.metadata)),
      );
    },
  );

  it('describes the messages of a stream in both directions', async () => {
    const { endpoints } = await registered();
    expect(endpoints.find(({ name }) => name === 'Greeter.Count')).toMatchObject({
      request: { name: 'CountRequest', type: 'CountRequest', values: [{ name: 'to', type: 'int64' }] },
      response: { name: 'CountResponse', type: 'CountResponse', values: [{ name: 'n', type: 'int64' }] },
    });
  });

  async function registered(): Promise<ServiceRecord> {
    const made = parts();
    const server = serverOf(made);
    const event = loadProto(new URL('./go-micro/greeter.proto', import.meta.url)).type('tenon.gomicro.Event');
    server.subscribe(server.newSubscriber('greeter.events', () => {}, { schema: { name: 'Event', proto: event } }));
    await made.broker.connect();
    await server.start();
    try {
      await server.register();
      const [record] = await made.registry.getService(service);
      return record as ServiceRecord;
    } finally {
      await server.stop();
      await made.transport.close();
    }
  }
});

function withNulls(value: ValueRecord | undefined): GoValue | null {
  if (!value) return null;
  const { name, type, values } = value;
  // The members of a oneof are fields here.
  const fields = values.filter((field) => !field.name.startsWith('c_')).map(withNulls) as GoValue[];
  return { name, type, values: fields.length === 0 ? null : fields };
}

function withoutOneofs(value: GoValue | null): GoValue | null {
  if (!value) return null;
  const fields = value.values?.filter(({ type }) => !type.startsWith('is')).map(withoutOneofs) as GoValue[] | undefined;
  return { ...value, values: fields && fields.length > 0 ? fields : null };
}
