import type { Metadata } from '../../context/metadata.ts';
import { readFields } from '../../internal/protobuf-fields.ts';

/** The part of a load report that weights are made of: ORCA's `xds.data.orca.v3.OrcaLoadReport`. */
export interface LoadReport {
  /** Calls a second. */
  readonly qps: number;
  /** Failed calls a second. */
  readonly eps: number;
  /** The utilization that the application reports, or else that of the processor; 1 is full. */
  readonly utilization: number;
}

const textKey = 'endpoint-load-metrics';
const binaryKey = 'endpoint-load-metrics-bin';

const fieldNames: Readonly<Record<number, string>> = {
  1: 'cpu_utilization',
  6: 'rps_fractional',
  7: 'eps',
  9: 'application_utilization',
};

/**
 * Reads the load report in the trailers of a call, as gRPC sends it (`endpoint-load-metrics-bin`), or as Envoy takes it
 * (`endpoint-load-metrics: TEXT cpu_utilization=0.3`, or `JSON {…}`). Returns `undefined` if there is none that can be
 * used.
 */
export function loadReportOf(trailers: Metadata | undefined): LoadReport | undefined {
  const binary = trailers?.get(binaryKey);
  const values = binary instanceof Uint8Array ? fromBinary(binary) : fromText(trailers?.text(textKey));
  if (!values) return undefined;
  const valueOf = (name: string): number => {
    const read = values[name];
    // Objects of JSON may have no primitive value, and then cannot be converted.
    const value = typeof read === 'number' || typeof read === 'string' ? Number(read) : 0;
    return value > 0 && Number.isFinite(value) ? value : 0;
  };
  const qps = valueOf('rps_fractional');
  const utilization = valueOf('application_utilization') || valueOf('cpu_utilization');
  return qps > 0 && utilization > 0 ? { qps, eps: valueOf('eps'), utilization } : undefined;
}

/** Returns the weight of a node by its load: gRFC A58. */
export function loadWeight({ qps, eps, utilization }: LoadReport, errorPenalty: number): number {
  return qps / (utilization + (eps / qps) * errorPenalty);
}

function fromBinary(bytes: Uint8Array): Record<string, unknown> | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const values: Record<string, number> = {};
  const isWhole = readFields(bytes, (field, _value, from, to) => {
    const name = fieldNames[field];
    // These fields are doubles: the wire type, in the lowest bits of the tag, is that of eight bytes.
    if (name !== undefined && (bytes[from] as number) % 8 === 1) values[name] = view.getFloat64(to - 8, true);
  });
  return isWhole ? values : undefined;
}

function fromText(text: string | undefined): Record<string, unknown> | undefined {
  if (text?.startsWith('TEXT ')) {
    const pairs = text.slice(5).split(',');
    return Object.fromEntries(pairs.map((pair) => pair.split('=').map((part) => part.trim())));
  }
  if (!text?.startsWith('JSON ')) return undefined;
  try {
    const value: unknown = JSON.parse(text.slice(5));
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}
