import { setOwn } from '../internal/own.ts';
import {
  bytesOf,
  type FieldValue,
  pushBytes,
  pushInteger,
  readFields,
  textOfBytes,
} from '../internal/protobuf-fields.ts';
import type { ErrorDetail } from './errors.ts';

/**
 * A kind of detail of an error: how its values are written and read. Those of Google are in this file; make others with
 * any protobuf library.
 */
export interface DetailType<T> {
  /** Full message name: `google.rpc.BadRequest`. */
  readonly type: string;
  encode(value: T): Uint8Array;
  /** `undefined` for bytes that are no message of the type. */
  decode(bytes: Uint8Array): T | undefined;
}

/**
 * The first detail of `error` of the type; `undefined` where there is none, or it cannot be read. Details of types that
 * are not known here stay in `error.details`, as bytes.
 *
 * @example
 * ```ts
 * function explain(error: TenonError): string[] {
 *   const violations = findDetail(error, BadRequest)?.fieldViolations ?? [];
 *   return violations.map(({ field, description }) => `${field}: ${description}`);
 * }
 * ```
 */
export function findDetail<T>(error: { readonly details: readonly ErrorDetail[] }, of: DetailType<T>): T | undefined {
  for (const detail of error.details) {
    const value = detail.type === of.type ? of.decode(detail.value) : undefined;
    if (value !== undefined) return value;
  }
  return undefined;
}

/** What is wrong with a request: `google.rpc.BadRequest`. Goes with INVALID_ARGUMENT. */
export interface BadRequest {
  readonly fieldViolations: readonly FieldViolation[];
}

/** One thing that is wrong with a request. */
export interface FieldViolation {
  /** Path of the field: `address.street`, `tags[2].name`; empty for the message as a whole. */
  readonly field: string;
  /** For people: what is wrong with it. */
  readonly description: string;
  /** For programs, `UPPER_SNAKE_CASE`. */
  readonly reason?: string | undefined;
  readonly localizedMessage?: LocalizedMessage | undefined;
}

/**
 * When to call again: `google.rpc.RetryInfo`. Goes with UNAVAILABLE or RESOURCE_EXHAUSTED; the retries of tenon obey
 * it.
 */
export interface RetryInfo {
  /** Wait at least so many milliseconds; sent to the microsecond. */
  readonly retryDelayMs: number;
}

/** Why a call failed, for programs: `google.rpc.ErrorInfo`. */
export interface ErrorInfo {
  /** `UPPER_SNAKE_CASE`, unique within the domain. */
  readonly reason: string;
  /** Who says so: the name of a service or product, `greeter.example.com`. */
  readonly domain?: string | undefined;
  readonly metadata?: Readonly<Record<string, string>> | undefined;
}

/**
 * What a developer of the service wants to know: `google.rpc.DebugInfo`. Not for callers that are not trusted: it may
 * hold secrets.
 */
export interface DebugInfo {
  readonly stackEntries?: readonly string[] | undefined;
  readonly detail?: string | undefined;
}

/** Which quotas are used up: `google.rpc.QuotaFailure`. Goes with RESOURCE_EXHAUSTED. */
export interface QuotaFailure {
  readonly violations: readonly QuotaViolation[];
}

/** One quota that is used up. */
export interface QuotaViolation {
  /** Whose quota: `clientip:<address>`, `project:<id>`. */
  readonly subject: string;
  /** For people. */
  readonly description: string;
  readonly apiService?: string | undefined;
  readonly quotaMetric?: string | undefined;
  readonly quotaId?: string | undefined;
  readonly quotaDimensions?: Readonly<Record<string, string>> | undefined;
  /** The limit in force. Beyond 2^53 not exact. */
  readonly quotaValue?: number | undefined;
  /** The limit that is being rolled out. */
  readonly futureQuotaValue?: number | undefined;
}

/** What has to be done first: `google.rpc.PreconditionFailure`. Goes with FAILED_PRECONDITION. */
export interface PreconditionFailure {
  readonly violations: readonly PreconditionViolation[];
}

/** One thing that has to be done first. */
export interface PreconditionViolation {
  /** Of the service's own: `TOS`. */
  readonly type: string;
  /** What it is about, as `type` has it: `example.com/terms`. */
  readonly subject: string;
  /** For people: how to mend it. */
  readonly description: string;
}

/** By what the service finds the request again: `google.rpc.RequestInfo`. */
export interface RequestInfo {
  readonly requestId: string;
  /** Whatever the service wants to be given back. */
  readonly servingData?: string | undefined;
}

/** What was to be accessed: `google.rpc.ResourceInfo`. Goes with NOT_FOUND, ALREADY_EXISTS, PERMISSION_DENIED. */
export interface ResourceInfo {
  readonly resourceType: string;
  readonly resourceName: string;
  readonly owner?: string | undefined;
  readonly description?: string | undefined;
}

/** Where to read more: `google.rpc.Help`. */
export interface Help {
  readonly links: readonly HelpLink[];
}

/** A page to read. */
export interface HelpLink {
  readonly description: string;
  readonly url: string;
}

/** A message that may be shown to users: `google.rpc.LocalizedMessage`. */
export interface LocalizedMessage {
  /** BCP 47: `en-US`. */
  readonly locale: string;
  readonly message: string;
}

type Kind =
  'string' | 'strings' | 'int64' | 'milliseconds' | 'map' | { readonly one: Fields } | { readonly many: Fields };
/** The fields of a message: number and kind by the property's name; `always` are there also when they were not sent. */
type Fields = Readonly<Record<string, readonly [number: number, kind: Kind, always?: 'always']>>;
type Values = Record<string, unknown>;

// googleapis: google/rpc/error_details.proto.
const localizedMessageFields: Fields = { locale: [1, 'string', 'always'], message: [2, 'string', 'always'] };
const fieldViolationFields: Fields = {
  field: [1, 'string', 'always'],
  description: [2, 'string', 'always'],
  reason: [3, 'string'],
  localizedMessage: [4, { one: localizedMessageFields }],
};
const quotaViolationFields: Fields = {
  subject: [1, 'string', 'always'],
  description: [2, 'string', 'always'],
  apiService: [3, 'string'],
  quotaMetric: [4, 'string'],
  quotaId: [5, 'string'],
  quotaDimensions: [6, 'map'],
  quotaValue: [7, 'int64'],
  futureQuotaValue: [8, 'int64'],
};
const preconditionViolationFields: Fields = {
  type: [1, 'string', 'always'],
  subject: [2, 'string', 'always'],
  description: [3, 'string', 'always'],
};
const helpLinkFields: Fields = { description: [1, 'string', 'always'], url: [2, 'string', 'always'] };

/** For {@link findDetail}. */
export const BadRequest = detailType<BadRequest>('BadRequest', {
  fieldViolations: [1, { many: fieldViolationFields }, 'always'],
});
/** For {@link findDetail}. */
export const RetryInfo = detailType<RetryInfo>('RetryInfo', { retryDelayMs: [1, 'milliseconds', 'always'] });
/** For {@link findDetail}. */
export const ErrorInfo = detailType<ErrorInfo>('ErrorInfo', {
  reason: [1, 'string', 'always'],
  domain: [2, 'string'],
  metadata: [3, 'map'],
});
/** For {@link findDetail}. */
export const DebugInfo = detailType<DebugInfo>('DebugInfo', { stackEntries: [1, 'strings'], detail: [2, 'string'] });
/** For {@link findDetail}. */
export const QuotaFailure = detailType<QuotaFailure>('QuotaFailure', {
  violations: [1, { many: quotaViolationFields }, 'always'],
});
/** For {@link findDetail}. */
export const PreconditionFailure = detailType<PreconditionFailure>('PreconditionFailure', {
  violations: [1, { many: preconditionViolationFields }, 'always'],
});
/** For {@link findDetail}. */
export const RequestInfo = detailType<RequestInfo>('RequestInfo', {
  requestId: [1, 'string', 'always'],
  servingData: [2, 'string'],
});
/** For {@link findDetail}. */
export const ResourceInfo = detailType<ResourceInfo>('ResourceInfo', {
  resourceType: [1, 'string', 'always'],
  resourceName: [2, 'string', 'always'],
  owner: [3, 'string'],
  description: [4, 'string'],
});
/** For {@link findDetail}. */
export const Help = detailType<Help>('Help', { links: [1, { many: helpLinkFields }, 'always'] });
/** For {@link findDetail}. */
export const LocalizedMessage = detailType<LocalizedMessage>('LocalizedMessage', localizedMessageFields);

/**
 * A detail that says what is wrong with a request.
 *
 * @example
 * ```ts
 * throw new TenonError({
 *   code: Code.InvalidArgument,
 *   message: 'the order is not valid',
 *   details: [badRequest({ fieldViolations: [{ field: 'items[0].count', description: 'must be positive' }] })],
 * });
 * ```
 */
export function badRequest(value: BadRequest): ErrorDetail {
  return detail(BadRequest, value);
}

/**
 * A detail that says when to call again.
 *
 * @example
 * ```ts
 * throw new TenonError({
 *   code: Code.Unavailable,
 *   message: 'the printer warms up: call again in two seconds',
 *   details: [retryInfo({ retryDelayMs: 2000 })],
 * });
 * ```
 */
export function retryInfo(value: RetryInfo): ErrorDetail {
  return detail(RetryInfo, value);
}

/** A detail that says to programs why a call failed. */
export function errorInfo(value: ErrorInfo): ErrorDetail {
  return detail(ErrorInfo, value);
}

/** A detail for the service's developers. It travels to the caller: see {@link DebugInfo}. */
export function debugInfo(value: DebugInfo): ErrorDetail {
  return detail(DebugInfo, value);
}

/** A detail that says which quotas are used up. */
export function quotaFailure(value: QuotaFailure): ErrorDetail {
  return detail(QuotaFailure, value);
}

/** A detail that says what has to be done first. */
export function preconditionFailure(value: PreconditionFailure): ErrorDetail {
  return detail(PreconditionFailure, value);
}

/** A detail by which the service finds the request again. */
export function requestInfo(value: RequestInfo): ErrorDetail {
  return detail(RequestInfo, value);
}

/** A detail that says what was to be accessed. */
export function resourceInfo(value: ResourceInfo): ErrorDetail {
  return detail(ResourceInfo, value);
}

/** A detail that says where to read more. */
export function help(value: Help): ErrorDetail {
  return detail(Help, value);
}

/** A detail that may be shown to users. */
export function localizedMessage(value: LocalizedMessage): ErrorDetail {
  return detail(LocalizedMessage, value);
}

function detail<T>(of: DetailType<T>, value: T): ErrorDetail {
  return { type: of.type, value: of.encode(value) };
}

function detailType<T extends object>(name: string, fields: Fields): DetailType<T> {
  return {
    type: `google.rpc.${name}`,
    encode: (value) => Uint8Array.from(encodeMessage(fields, value as Values)),
    decode: (bytes) => decodeMessage(fields, bytes) as T | undefined,
  };
}

function encodeMessage(fields: Fields, values: Values): number[] {
  const bytes: number[] = [];
  for (const [name, [number, kind]] of Object.entries(fields)) {
    const value = values[name];
    if (value !== undefined) encodeField(bytes, number, kind, value);
  }
  return bytes;
}

function encodeField(bytes: number[], number: number, kind: Kind, value: unknown): void {
  if (typeof kind === 'object') {
    if ('one' in kind) pushBytes(bytes, number, encodeMessage(kind.one, value as Values));
    else for (const one of value as Values[]) pushBytes(bytes, number, encodeMessage(kind.many, one));
  } else if (kind === 'string') {
    if (value !== '') pushBytes(bytes, number, bytesOf(String(value)));
  } else if (kind === 'strings') {
    for (const one of value as string[]) pushBytes(bytes, number, bytesOf(one));
  } else if (kind === 'int64') {
    pushInteger(bytes, number, Math.trunc(value as number));
  } else if (kind === 'milliseconds') {
    pushBytes(bytes, number, encodeDuration(value as number));
  } else {
    for (const [key, text] of Object.entries(value as Record<string, string>)) {
      const entry: number[] = [];
      pushBytes(entry, 1, bytesOf(key));
      pushBytes(entry, 2, bytesOf(text));
      pushBytes(bytes, number, entry);
    }
  }
}

/** `google.protobuf.Duration`: whole seconds, and nanoseconds of the same sign. */
function encodeDuration(milliseconds: number): number[] {
  const bytes: number[] = [];
  // Rounded first: a second that is rounded up to is one more second.
  const micros = Math.round(milliseconds * 1000);
  const seconds = Math.trunc(micros / 1e6);
  const nanos = (micros - seconds * 1e6) * 1000;
  if (seconds !== 0) pushInteger(bytes, 1, seconds);
  if (nanos !== 0) pushInteger(bytes, 2, nanos);
  return bytes;
}

function decodeDuration(bytes: Uint8Array): number | undefined {
  let seconds = 0;
  let nanos = 0;
  const isWhole = readFields(bytes, (field, value) => {
    if (field === 1 && typeof value === 'number') seconds = value;
    if (field === 2 && typeof value === 'number') nanos = value;
  });
  return isWhole ? seconds * 1000 + nanos / 1e6 : undefined;
}

function decodeMessage(fields: Fields, bytes: Uint8Array): Values | undefined {
  const values: Values = {};
  const byNumber = new Map<number, readonly [string, Kind]>();
  for (const [name, [number, kind, always]] of Object.entries(fields)) {
    byNumber.set(number, [name, kind]);
    if (always) values[name] = emptyOf(kind);
  }
  let isSound = true;
  const isWhole = readFields(bytes, (number, value) => {
    const known = byNumber.get(number);
    if (known && value !== undefined && !decodeField(values, known[0], known[1], value)) isSound = false;
  });
  return isWhole && isSound ? values : undefined;
}

/** False for a value that the field cannot have. */
function decodeField(values: Values, name: string, kind: Kind, value: FieldValue): boolean {
  if (typeof value === 'number') {
    if (kind === 'int64') values[name] = value;
    return kind === 'int64';
  }
  if (kind === 'int64') return false;
  if (kind === 'string') values[name] = textOfBytes(value);
  else if (kind === 'strings') ((values[name] ??= []) as string[]).push(textOfBytes(value));
  else if (kind === 'milliseconds') values[name] = decodeDuration(value);
  else if (kind === 'map') return decodeEntry((values[name] ??= {}) as Values, value);
  else if ('one' in kind) values[name] = decodeMessage(kind.one, value);
  else {
    const one = decodeMessage(kind.many, value);
    if (one) (values[name] as Values[]).push(one);
    return one !== undefined;
  }
  return values[name] !== undefined;
}

function decodeEntry(map: Values, bytes: Uint8Array): boolean {
  let [key, text] = ['', ''];
  const isWhole = readFields(bytes, (field, value) => {
    if (field === 1 && typeof value === 'object') key = textOfBytes(value);
    if (field === 2 && typeof value === 'object') text = textOfBytes(value);
  });
  if (isWhole) setOwn<unknown>(map, key, text);
  return isWhole;
}

function emptyOf(kind: Kind): unknown {
  if (kind === 'string') return '';
  return kind === 'milliseconds' ? 0 : [];
}
