import { deflateSync, inflateSync } from 'node:zlib';

/** The body of a registration at an agent. */
export interface ServiceDefinition {
  readonly ID: string;
  readonly Name: string;
  readonly Tags: readonly string[];
  readonly Address: string;
  readonly Port: number;
  readonly Meta: Readonly<Record<string, string>>;
  readonly Check: { readonly TTL: string; readonly DeregisterCriticalServiceAfter: string; readonly Status: 'passing' };
}

/** The parts of a {@link definitionOf}, beside the tags. */
export interface DefinitionInit {
  readonly ID: string;
  readonly Name: string;
  readonly Address: string;
  readonly Port: number;
  readonly ttlMs: number;
  readonly fields: TagFields;
  /** Marks whose it is, for {@link ownerIn}. */
  readonly owner: string;
}

// Not of Go Micro, which ignores it.
const ownerKey = 'tenon-owner';

/** The owner in the `Meta` of a service; `undefined` if it is none of tenon's. */
export function ownerIn(meta: unknown): string | undefined {
  const { [ownerKey]: owner } = (typeof meta === 'object' && meta !== null ? meta : {}) as Record<string, unknown>;
  return typeof owner === 'string' ? owner : undefined;
}

/**
 * Makes the definition of a node's service. Consul removes it a little after its check has turned critical. Other than
 * with Go Micro, the check passes from the beginning, as callers need the node at once.
 */
export function definitionOf({ ttlMs, fields, owner, ...place }: DefinitionInit): ServiceDefinition {
  const afterMs = Math.max(ttlMs + 5_000, 65_000);
  const Check = { TTL: `${ttlMs}ms`, DeregisterCriticalServiceAfter: `${afterMs}ms`, Status: 'passing' } as const;
  const Meta = { ...metaOf(fields.metadata), [ownerKey]: owner };
  return { ...place, Tags: encodeTags(fields), Meta, Check };
}

/** The id of the check that Consul makes of the one check in a definition. */
export function checkIdOf(serviceId: string): string {
  return `service:${serviceId}`;
}

/** The parts of a record that are kept in tags. */
export interface TagFields {
  readonly version: string;
  /** Metadata of the node. */
  readonly metadata: Readonly<Record<string, string>>;
  readonly endpoints: readonly object[];
  /** Tenon's own, like the two below: only present where Go Micro's tags cannot say the same. */
  readonly id?: string | undefined;
  readonly address?: string | undefined;
  readonly serviceMetadata?: Readonly<Record<string, string>> | undefined;
}

/** Fields that were read from tags of others, unchecked. */
export interface ReadTags {
  readonly version: string;
  /** Undefined if there are no tags of Go Micro. */
  readonly metadata: Readonly<Record<string, unknown>> | undefined;
  readonly endpoints: readonly unknown[];
  readonly own: Readonly<Record<string, unknown>>;
}

/** Encodes tags: one for each entry of the metadata, for each endpoint and for the version, and tenon's own. */
export function encodeTags({ version, metadata, endpoints, ...own }: TagFields): string[] {
  const hasOwn = Object.values(own).some((value) => value !== undefined);
  return [
    ...Object.entries(metadata).map(([key, value]) => tag('t', JSON.stringify({ [key]: value }))),
    ...endpoints.map((endpoint) => tag('e', JSON.stringify(endpoint))),
    tag('v', version),
    // Go Micro passes over a tag that begins with another letter.
    ...(hasOwn ? [tag('n', JSON.stringify(own))] : []),
  ];
}

// Tags repeat what the JSON of a record has once, such as the null of an endpoint without a request.
const maxBytesOfAll = 3;

/**
 * Decodes tags, in today's form and in the plain form before it. Others are passed over, and so are those whose text
 * takes more than `maxBytes`: any service of Consul may have tags that begin like these. Throws a `RangeError` where
 * all texts together take more than three times as much.
 */
export function decodeTags(tags: readonly string[], maxBytes: number): ReadTags {
  let left = maxBytes * maxBytesOfAll;
  const textsOf = (kind: string): string[] =>
    tags.flatMap((one) => {
      const text = textIn(one, kind, maxBytes);
      left -= text?.bytes ?? 0;
      if (left < 0) throw new RangeError(`the texts of its tags take more than ${maxBytes * maxBytesOfAll} bytes`);
      return text?.value ?? [];
    });
  const objectsOf = (kind: string): object[] => textsOf(kind).flatMap((text) => objectIn(text) ?? []);
  const [version] = textsOf('v');
  const entries = objectsOf('t').flatMap((entry) => Object.entries(entry) as [string, unknown][]);
  const isKnown = version !== undefined || entries.length > 0;
  return {
    version: version ?? '',
    metadata: isKnown ? Object.fromEntries(entries) : undefined,
    endpoints: objectsOf('e'),
    own: { ...objectsOf('n')[0] },
  };
}

/**
 * Metadata as far as Consul takes it, for people and for Consul's filters: readers take the tags. It has at most 64
 * entries, the owner among them, with 128 and 512 bytes, and letters, digits, `_` and `-` in keys.
 */
function metaOf(metadata: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  const fitting = Object.entries(metadata).filter(
    ([key, value]) => /^(?!consul-)[\w-]{1,128}$/.test(key) && Buffer.byteLength(value) <= 512,
  );
  return Object.fromEntries(fitting.slice(0, 63));
}

function tag(kind: string, text: string): string {
  return `${kind}-${deflateSync(text).toString('hex')}`;
}

/** The text of a tag, unless it is larger than `maxBytes` or none; and the bytes that it took to see that. */
function textIn(one: string, kind: string, maxBytes: number): { value?: string; bytes: number } | undefined {
  if (one.startsWith(`${kind}=`)) return { value: one.slice(2), bytes: one.length - 2 };
  if (!one.startsWith(`${kind}-`) || !/^(?:[\da-f]{2})+$/i.test(one.slice(2))) return undefined;
  try {
    const text = inflateSync(Buffer.from(one.slice(2), 'hex'), { maxOutputLength: maxBytes });
    return { value: text.toString(), bytes: text.length };
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE' ? { bytes: maxBytes } : undefined;
  }
}

function objectIn(text: string): object | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : undefined;
  } catch {
    return undefined;
  }
}
