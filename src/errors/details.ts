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
 * A type of error detail: writes and reads its values. This file has those of `google.rpc`; make others with any
 * protobuf library.
 */
export interface DetailType<T> {
  /** Full message name: `google.rpc.BadRequest`. */
  readonly type: string;
  encode(value: T): Uint8Array;
  /** Reads a value; `undefined` for bytes that are not a message of the type. */
  decode(bytes: Uint8Array): T | undefined;
}

/**
 * Finds the first detail of a type; `undefined` if there is none, or it cannot be read. `error.details` has all
 * details, as bytes.
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

/** Lists the invalid fields of a request: `google.rpc.BadRequest`. Goes with INVALID_ARGUMENT. */
export interface BadRequest {
  readonly fieldViolations: readonly FieldViolation[];
}

/** One invalid field of a request. */
export interface FieldViolation {
  /** Path of the field: `address.street`, `tags[2].name`; empty for the message as a whole. */
  readonly field: string;
  /** The mistake, for people. */
  readonly description: string;
  /** The kind of mistake, for programs: `UPPER_SNAKE_CASE`. */
  readonly reason?: string | undefined;
  readonly localizedMessage?: LocalizedMessage | undefined;
}

/**
 * Asks the caller to wait before it calls again: `google.rpc.RetryInfo`. Goes with UNAVAILABLE or RESOURCE_EXHAUSTED;
 * tenon's retries obey it.
 */
export interface RetryInfo {
  /** Wait at least so many milliseconds; sent to the microsecond. */
  readonly retryDelayMs: number;
}

/** The cause of a failure, for programs: `google.rpc.ErrorInfo`. */
export interface ErrorInfo {
  /** `UPPER_SNAKE_CASE`, unique within the domain. */
  readonly reason: string;
  /** The service or product that defines the reason: `greeter.example.com`. */
  readonly domain?: string | undefined;
  readonly metadata?: Readonly<Record<string, string>> | undefined;
}

/**
 * Information for the developers of a service: `google.rpc.DebugInfo`. Do not send it to callers that you do not trust:
 * it may hold secrets.
 */
export interface DebugInfo {
  readonly stackEntries?: readonly string[] | undefined;
  readonly detail?: string | undefined;
}

/** Lists the quotas that are used up: `google.rpc.QuotaFailure`. Goes with RESOURCE_EXHAUSTED. */
export interface QuotaFailure {
  readonly violations: readonly QuotaViolation[];
}

/** One quota that is used up. */
export interface QuotaViolation {
  /** The owner of the quota: `clientip:<address>`, `project:<id>`. */
  readonly subject: string;
  /** A description, for people. */
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

/** Lists what the caller has to do first: `google.rpc.PreconditionFailure`. Goes with FAILED_PRECONDITION. */
export interface PreconditionFailure {
  readonly violations: readonly PreconditionViolation[];
}

/** One condition that the caller has to fulfil first. */
export interface PreconditionViolation {
  /** The kind of condition, which the service defines: `TOS`. */
  readonly type: string;
  /** The subject of the condition: `example.com/terms`. */
  readonly subject: string;
  /** The remedy, for people. */
  readonly description: string;
}

/** Identifies a request in the logs of the service: `google.rpc.RequestInfo`. */
export interface RequestInfo {
  readonly requestId: string;
  /** Data that the service can make use of when it is given it back. */
  readonly servingData?: string | undefined;
}

/**
 * The resource that was to be accessed: `google.rpc.ResourceInfo`. Goes with NOT_FOUND, ALREADY_EXISTS,
 * PERMISSION_DENIED.
 */
export interface ResourceInfo {
  readonly resourceType: string;
  readonly resourceName: string;
  readonly owner?: string | undefined;
  readonly description?: string | undefined;
}

/** Links to pages about the error: `google.rpc.Help`. */
export interface Help {
  readonly links: readonly HelpLink[];
}

/** A link to a page about the error. */
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
/** The fields of a message by property: number and kind. Fields marked `always` have a value even if none was sent. */
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

/** The detail type `google.rpc.BadRequest`, for {@link findDetail}. */
export const BadRequest = detailType<BadRequest>('BadRequest', {
  fieldViolations: [1, { many: fieldViolationFields }, 'always'],
});
/** The detail type `google.rpc.RetryInfo`, for {@link findDetail}. */
export const RetryInfo = detailType<RetryInfo>('RetryInfo', { retryDelayMs: [1, 'milliseconds', 'always'] });
/** The detail type `google.rpc.ErrorInfo`, for {@link findDetail}. */
export const ErrorInfo = detailType<ErrorInfo>('ErrorInfo', {
  reason: [1, 'string', 'always'],
  domain: [2, 'string'],
  metadata: [3, 'map'],
});
/** The detail type `google.rpc.DebugInfo`, for {@link findDetail}. */
export const DebugInfo = detailType<DebugInfo>('DebugInfo', { stackEntries: [1, 'strings'], detail: [2, 'string'] });
/** The detail type `google.rpc.QuotaFailure`, for {@link findDetail}. */
export const QuotaFailure = detailType<QuotaFailure>('QuotaFailure', {
  violations: [1, { many: quotaViolationFields }, 'always'],
});
/** The detail type `google.rpc.PreconditionFailure`, for {@link findDetail}. */
export const PreconditionFailure = detailType<PreconditionFailure>('PreconditionFailure', {
  violations: [1, { many: preconditionViolationFields }, 'always'],
});
/** The detail type `google.rpc.RequestInfo`, for {@link findDetail}. */
export const RequestInfo = detailType<RequestInfo>('RequestInfo', {
  requestId: [1, 'string', 'always'],
  servingData: [2, 'string'],
});
/** The detail type `google.rpc.ResourceInfo`, for {@link findDetail}. */
export const ResourceInfo = detailType<ResourceInfo>('ResourceInfo', {
  resourceType: [1, 'string', 'always'],
  resourceName: [2, 'string', 'always'],
  owner: [3, 'string'],
  description: [4, 'string'],
});
/** The detail type `google.rpc.Help`, for {@link findDetail}. */
export const Help = detailType<Help>('Help', { links: [1, { many: helpLinkFields }, 'always'] });
/** The detail type `google.rpc.LocalizedMessage`, for {@link findDetail}. */
export const LocalizedMessage = detailType<LocalizedMessage>('LocalizedMessage', localizedMessageFields);

/**
 * Makes a detail that lists the invalid fields of a request.
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
 * Makes a detail that asks the caller to wait before it calls again.
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

/** Makes a detail with the cause of a failure, for programs. */
export function errorInfo(value: ErrorInfo): ErrorDetail {
  return detail(ErrorInfo, value);
}

/** Makes a detail for the service's developers. It is sent to the caller: see {@link DebugInfo}. */
export function debugInfo(value: DebugInfo): ErrorDetail {
  return detail(DebugInfo, value);
}

/** Makes a detail that lists the quotas that are used up. */
export function quotaFailure(value: QuotaFailure): ErrorDetail {
  return detail(QuotaFailure, value);
}

/** Makes a detail that lists what the caller has to do first. */
export function preconditionFailure(value: PreconditionFailure): ErrorDetail {
  return detail(PreconditionFailure, value);
}

/** Makes a detail that identifies the request in the logs of the service. */
export function requestInfo(value: RequestInfo): ErrorDetail {
  return detail(RequestInfo, value);
}

/** Makes a detail that names the resource that was to be accessed. */
export function resourceInfo(value: ResourceInfo): ErrorDetail {
  return detail(ResourceInfo, value);
}

/** Makes a detail with links to pages about the error. */
export function help(value: Help): ErrorDetail {
  return detail(Help, value);
}

/** Makes a detail with a message that may be shown to users. */
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
