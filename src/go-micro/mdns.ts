import { deflateSync, inflateSync } from 'node:zlib';

/** The domain of services in multicast DNS. */
export const mdnsDomain = 'micro';
/** The TTL of records, in seconds. */
export const mdnsTtlS = 120;
/** Priority and weight of SRV records. */
export const srvOrder = { priority: 10, weight: 1 } as const;
/** The port of the placeholder record of a service, which names no node. */
export const placeholderPort = 9_999;

/** Returns the name of the query for all services. */
export function enumerationName(domain: string): string {
  return `_services.${domain}`;
}

/** The JSON in the TXT data of a node. */
export interface TxtFields {
  readonly Metadata: Readonly<Record<string, string>>;
  readonly Service: string;
  readonly Version: string;
  readonly Endpoints: readonly object[];
  /** Tenon's own, like the two below: only present where Go Micro's records cannot say the same. */
  readonly Id?: string;
  readonly Address?: string;
  readonly ServiceMetadata?: Readonly<Record<string, string>>;
}

/** Encodes TXT data: JSON, compressed by zlib, in lower-case hexadecimal digits. */
export function encodeTxtFields(fields: TxtFields): string {
  return deflateSync(JSON.stringify(fields)).toString('hex');
}

/** Decompresses TXT data to its JSON. Throws for data that is none, or whose JSON takes more than `maxBytes`. */
export function decompressTxt(hex: string, maxBytes: number): Buffer {
  return inflateSync(Buffer.from(hex, 'hex'), { maxOutputLength: maxBytes });
}
