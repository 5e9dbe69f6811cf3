import { Code, Metadata, TenonError } from 'tenon';
import { loadProto } from 'tenon/codec/proto';

const file = (name: string): URL => new URL(`../proto/connectrpc/conformance/v1/${name}.proto`, import.meta.url);

/** Where Connect's conformance service is described. */
export const conformanceProto = file('service');

/** What a client of it is made of. */
export const conformanceSource = {
  proto: conformanceProto,
  name: 'connectrpc.conformance.v1.ConformanceService',
};

const protos = loadProto([conformanceProto, file('client_compat'), file('server_compat')]);
const typePrefix = 'type.googleapis.com/';

/** Reads a message of the package by its short name. */
export function decode<T>(name: string, bytes: Uint8Array): T {
  return typeOf(name).decode(bytes) as T;
}

/** Writes a message of the package by its short name. */
export function encode(name: string, value: object): Uint8Array {
  return typeOf(name).encode(value);
}

/** A message of the package as an `Any`. */
export function toAny(name: string, value: object): Any {
  return { typeUrl: `${typePrefix}connectrpc.conformance.v1.${name}`, value: encode(name, value) };
}

/** The message in an `Any`. Throws for one that is of another type. */
export function fromAny<T>(name: string, any: Any): T {
  const type = any.typeUrl.slice(any.typeUrl.lastIndexOf('/') + 1);
  if (type !== `connectrpc.conformance.v1.${name}`) throw new Error(`a ${name} is expected, and a ${type} came`);
  return decode<T>(name, any.value);
}

function typeOf(name: string) {
  const type = protos.type(`connectrpc.conformance.v1.${name}`);
  if (!type) throw new Error(`there is no message ${name}`);
  return type;
}

export interface Any {
  readonly typeUrl: string;
  readonly value: Uint8Array;
}

export interface Header {
  readonly name: string;
  readonly value: readonly string[];
}

/** A code is a name when it is read, and may be a number when it is written; the numbers are gRPC's. */
export interface ProtoError {
  readonly code: string | number;
  readonly message?: string | undefined;
  readonly details?: readonly Any[] | undefined;
}

export interface UnaryResponseDefinition {
  readonly responseHeaders: readonly Header[];
  readonly responseData?: Uint8Array | undefined;
  readonly error?: ProtoError | undefined;
  readonly responseTrailers: readonly Header[];
  readonly responseDelayMs: number;
}

export interface StreamResponseDefinition {
  readonly responseHeaders: readonly Header[];
  readonly responseData: readonly Uint8Array[];
  readonly responseDelayMs: number;
  readonly error?: ProtoError | undefined;
  readonly responseTrailers: readonly Header[];
}

export interface UnaryRequest {
  readonly responseDefinition?: UnaryResponseDefinition | undefined;
}

export interface StreamRequest {
  readonly responseDefinition?: StreamResponseDefinition | undefined;
  readonly fullDuplex?: boolean;
}

export interface RequestInfo {
  readonly requestHeaders?: readonly Header[];
  readonly timeoutMs?: number | undefined;
  readonly requests: readonly Any[];
}

export interface Payload {
  readonly data?: Uint8Array | undefined;
  readonly requestInfo?: RequestInfo | undefined;
}

export interface Response {
  readonly payload?: Payload | undefined;
}

/** `connectrpc.conformance.v1.ConformanceService`, as its callers see it. */
export interface ConformanceApi {
  unary(request: object): Promise<Response>;
  serverStream(request: object): AsyncIterable<Response>;
  clientStream(requests: AsyncIterable<object>): Promise<Response>;
  bidiStream(requests: AsyncIterable<object>): AsyncIterable<Response>;
  unimplemented(request: object): Promise<object>;
  idempotentUnary(request: object): Promise<Response>;
}

/** Headers of a message as metadata: those of keys in `-bin` are in base64. */
export function toMetadata(headers: readonly Header[], metadata = new Metadata()): Metadata {
  for (const { name, value } of headers) {
    const isBinary = name.toLowerCase().endsWith('-bin');
    for (const one of value) metadata.append(name, isBinary ? Buffer.from(one, 'base64') : one);
  }
  return metadata;
}

/** Metadata as headers of a message. */
export function toHeaders(metadata: Metadata): Header[] {
  const byName = new Map<string, string[]>();
  for (const [name, value] of metadata) {
    const text = typeof value === 'string' ? value : Buffer.from(value).toString('base64').replace(/=+$/, '');
    const values = byName.get(name);
    if (values) values.push(text);
    else byName.set(name, [text]);
  }
  return [...byName].map(([name, value]) => ({ name, value }));
}

/** The error that a message describes, with what is to be added to its details. */
export function toTenonError({ code, message = '', details = [] }: ProtoError, more: readonly Any[] = []): TenonError {
  return new TenonError({
    code: codes.get(code) ?? Code.Unknown,
    message,
    details: [...details, ...more].map(({ typeUrl, value }) => ({
      type: typeUrl.slice(typeUrl.lastIndexOf('/') + 1),
      value,
    })),
  });
}

/** What a call failed with, as a message. */
export function toProtoError({ code, message, details }: TenonError): ProtoError {
  return { code, message, details: details.map(({ type, value }) => ({ typeUrl: `${typePrefix}${type}`, value })) };
}

const codes = new Map<string | number, Code>(
  Object.entries(Code).map(([name, code]) => [
    `CODE_${name === 'Cancelled' ? 'CANCELED' : name.replace(/(?<=.)[A-Z]/g, '_$&').toUpperCase()}`,
    code,
  ]),
);
