import { createHash } from 'node:crypto';

import { type KeyRange, type KeyValue, prefixed } from '../../etcd/messages.ts';
import type { BrokenRecords } from '../kit/broken-records.ts';
import { idOf } from '../kit/node-table.ts';
import { BrokenRecord, decodeNode } from '../kit/records.ts';
import type { ServiceRecord } from '../registry.ts';

/**
 * Go Micro's layout of keys: `<prefix><service>/<id>`, with `-` for each `/` of a name or an id. Different nodes may
 * have the same key; the record tells which one is there, and the other one has a second key in the same place.
 */
export class KeyLayout {
  readonly #prefix: string;
  readonly #broken: BrokenRecords;
  readonly #maxRecordBytes: number;

  constructor(prefix: string, broken: BrokenRecords, maxRecordBytes: number) {
    this.#prefix = prefix;
    this.#broken = broken;
    this.#maxRecordBytes = maxRecordBytes;
  }

  /** The keys at which a node may be: Go Micro's, and the one for when that is another node's. */
  ofNode(service: string, id: string): readonly [first: string, second: string] {
    const key = `${this.#placeOf(service)}${flat(id)}`;
    const hash = createHash('sha256')
      .update(JSON.stringify([service, id]))
      .digest('hex');
    return [key, `${key}~${hash.slice(0, 16)}`];
  }

  /** The range of the keys of a service, or of all services. */
  rangeOf(service: string | undefined): KeyRange {
    return prefixed(service === undefined ? this.#prefix : this.#placeOf(service));
  }

  /** Decodes the record at a key; `undefined`, and logged once, if it is broken or in the place of another service. */
  decode({ key, value }: KeyValue): ServiceRecord | undefined {
    const place = Buffer.from(key).toString();
    return this.#broken.read(place, () => {
      const record = decodeNode(Buffer.from(value).toString(), this.#maxRecordBytes);
      if (!place.startsWith(this.#placeOf(record.name))) throw new BrokenRecord('is the record of another service');
      return record;
    });
  }

  /** True if the record at a key is the node's, at its address if one is given. */
  isOf(kv: KeyValue, service: string, id: string, address?: string): boolean {
    const record = this.decode(kv);
    if (record?.name !== service || idOf(record) !== id) return false;
    return address === undefined || record.nodes[0]?.address === address;
  }

  /** True if a key is Go Micro's for the node of its record. */
  isFirst({ key }: KeyValue, record: ServiceRecord): boolean {
    return Buffer.from(key).toString() === `${this.#placeOf(record.name)}${flat(idOf(record))}`;
  }

  #placeOf(service: string): string {
    return `${this.#prefix}${flat(service)}/`;
  }
}

/** A name as a part of a key. Half a surrogate pair has no UTF-8, and is replaced. */
function flat(name: string): string {
  return Buffer.from(name.replaceAll('/', '-')).toString();
}
