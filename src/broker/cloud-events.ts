import { Code, TenonError } from '../errors/errors.ts';
import { contentTypeHeader } from '../go-micro/event-envelope.ts';
import { setOwn } from '../internal/own.ts';
import type { BrokerMessage, EventHeaders } from './broker.ts';

/** An event with the attributes of CloudEvents 1.0. */
export interface CloudEvent {
  /** Identifies the event among those of its source. */
  readonly id: string;
  /** The place where it happened, as a URI reference: `/shop/checkout`. */
  readonly source: string;
  /** The kind of event: `com.example.order.placed`. */
  readonly type: string;
  readonly subject?: string | undefined;
  /** The time when it happened, as RFC 3339. */
  readonly time?: string | undefined;
  /** The content type of `data`. */
  readonly datacontenttype?: string | undefined;
  readonly dataschema?: string | undefined;
  /** Further attributes. Names are lower-case letters and digits. */
  readonly extensions?: Readonly<Record<string, string>> | undefined;
  readonly data: Uint8Array;
}

/** `binary`: attributes in headers, the data is the body. `structured`: all of it is the body, as JSON. */
export type CloudEventMode = 'binary' | 'structured';

const prefix = 'ce-';
/** The prefixes of the bindings of CloudEvents to HTTP and NATS, to Kafka, and to AMQP. */
const anyPrefix = /^(?:ce[-_]|cloudEvents[:_])/;
const structuredType = 'application/cloudevents+json';
const required = ['id', 'source', 'type'] as const;
const optional = ['subject', 'time', 'dataschema'] as const;
const attributeName = /^[a-z0-9]+$/;
const reserved: ReadonlySet<string> = new Set([
  ...required,
  ...optional,
  'specversion',
  'datacontenttype',
  'data',
  'data_base64',
]);
const utf8 = new TextEncoder();
const strictUtf8 = new TextDecoder('utf-8', { fatal: true });

/**
 * Writes a CloudEvent as an event of a broker. Throws INVALID_ARGUMENT (`broker.invalid_cloud_event`) if an attribute
 * that is required is missing or empty, or an extension has a name that none can have.
 */
export function writeCloudEvent(event: CloudEvent, mode: CloudEventMode, headers: EventHeaders = {}): BrokerMessage {
  const attributes = checkedAttributes(event);
  const { datacontenttype, data } = event;
  if (mode === 'structured') {
    const content = jsonData(datacontenttype, data) ?? { data_base64: Buffer.from(data).toString('base64') };
    const all = { ...attributes, ...(datacontenttype === undefined ? {} : { datacontenttype }), ...content };
    return { headers: { ...headers, [contentTypeHeader]: structuredType }, body: utf8.encode(JSON.stringify(all)) };
  }
  const written: Record<string, string> = { ...headers };
  for (const [name, value] of Object.entries(attributes)) written[prefix + name] = value;
  if (datacontenttype !== undefined) written[contentTypeHeader] = datacontenttype;
  return { headers: written, body: data };
}

/**
 * Reads a CloudEvent, in either mode, with attributes under `ce-`, `ce_`, `cloudEvents:` or `cloudEvents_`. Returns
 * undefined for an event that is none. Throws INVALID_ARGUMENT (`broker.invalid_cloud_event`) for one that is broken.
 */
export function readCloudEvent({ headers, body }: BrokerMessage): CloudEvent | undefined {
  const contentType = contentTypeOf(headers);
  if (isStructured(contentType)) return readStructured(body);
  const attributes: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers))
    if (anyPrefix.test(name)) setOwn(attributes, name.replace(anyPrefix, ''), value);
  if (attributes['specversion'] === undefined) return undefined;
  return cloudEventOf(attributes, contentType, body);
}

/** The content type and the bytes that a codec reads: those of the data, for a CloudEvent in one piece. */
export function contentOf({ headers, body }: BrokerMessage): {
  readonly contentType: string | undefined;
  readonly body: Uint8Array;
} {
  const contentType = contentTypeOf(headers);
  if (!isStructured(contentType)) return { contentType, body };
  const { datacontenttype, data } = readStructured(body);
  return { contentType: datacontenttype ?? 'application/json', body: data };
}

/** Other programs write its name in small letters. */
function contentTypeOf(headers: EventHeaders): string | undefined {
  return headers[contentTypeHeader] ?? headers['content-type'];
}

function isStructured(contentType: string | undefined): boolean {
  return contentType !== undefined && /^application\/cloudevents\+json *(?:;|$)/i.test(contentType);
}

function checkedAttributes(event: CloudEvent): Record<string, string> {
  const attributes: Record<string, string> = { specversion: '1.0' };
  for (const name of required) {
    if (typeof event[name] !== 'string' || event[name] === '') throw invalid(`it needs the attribute ${name}`);
    attributes[name] = event[name];
  }
  for (const name of optional) if (event[name] !== undefined) attributes[name] = event[name];
  for (const [name, value] of Object.entries(event.extensions ?? {})) {
    if (!attributeName.test(name) || reserved.has(name))
      throw invalid(`no extension can have the name ${JSON.stringify(name)}`);
    attributes[name] = value;
  }
  return attributes;
}

function readStructured(body: Uint8Array): CloudEvent {
  const read = parsed(body);
  const { datacontenttype, data, data_base64: base64, ...attributes } = read;
  const contentType = textOfAttribute('datacontenttype', datacontenttype);
  const texts: Record<string, string> = {};
  for (const [name, value] of Object.entries(attributes)) {
    const text = textOfAttribute(name, value);
    if (text !== undefined) setOwn(texts, name, text);
  }
  if (base64 !== undefined) {
    if (typeof base64 !== 'string' || data !== undefined) throw invalid('data_base64 is a text, and there is no data');
    return cloudEventOf(texts, contentType, Buffer.from(base64, 'base64'));
  }
  const isText = typeof data === 'string' && !isJson(contentType);
  const bytes = isText ? utf8.encode(data) : utf8.encode(data === undefined ? '' : JSON.stringify(data));
  return cloudEventOf(texts, contentType, bytes);
}

/** Attributes are texts, numbers and booleans; null is as absent. */
function textOfAttribute(name: string, value: unknown): string | undefined {
  if (value === undefined || value === null) return undefined;
  if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean') return String(value);
  throw invalid(`its attribute ${name} is no text`);
}

function parsed(body: Uint8Array): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    value = JSON.parse(strictUtf8.decode(body));
  } catch (error) {
    throw invalid('its body is no JSON', error);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw invalid('its body is no object');
  return value as Readonly<Record<string, unknown>>;
}

function cloudEventOf(
  attributes: Readonly<Record<string, string>>,
  datacontenttype: string | undefined,
  data: Uint8Array,
): CloudEvent {
  const { specversion, id = '', source = '', type = '', subject, time, dataschema, ...extensions } = attributes;
  if (specversion !== '1.0') throw invalid(`its specversion is ${JSON.stringify(specversion)}, and 1.0 is read`);
  for (const [name, value] of [
    ['id', id],
    ['source', source],
    ['type', type],
  ])
    if (value === '') throw invalid(`it needs the attribute ${name}`);
  return { id, source, type, subject, time, dataschema, datacontenttype, extensions, data };
}

/** The data as a value of JSON, if that is what it is. */
function jsonData(contentType: string | undefined, data: Uint8Array): { readonly data: unknown } | undefined {
  if (!isJson(contentType)) return undefined;
  try {
    return { data: JSON.parse(strictUtf8.decode(data)) };
  } catch {
    return undefined;
  }
}

/** Without a content type data is JSON. */
function isJson(contentType = 'application/json'): boolean {
  return /^[^;]*[/+]json *(?:;|$)/i.test(contentType);
}

function invalid(why: string, cause?: unknown): TenonError {
  return new TenonError({
    code: Code.InvalidArgument,
    reason: 'broker.invalid_cloud_event',
    message: `a CloudEvent cannot be read or written: ${why}`,
    cause,
  });
}
