/** The beginnings of the subjects of Go Micro's NATS registry: those of version 5, and those of 4. */
export const natsPrefixes = ['micro.nats', 'micro.registry.nats'] as const;

/** The subjects of a registry: those of questions, and those of announcements. */
export class NatsSubjects {
  readonly prefixes: readonly string[];
  readonly queries: readonly string[];
  readonly watches: readonly string[];

  constructor(prefixes: readonly string[]) {
    this.prefixes = prefixes;
    this.queries = prefixes.map((prefix) => `${prefix}.query`);
    this.watches = prefixes.map((prefix) => `${prefix}.watch`);
  }

  /** False for a message at `subject` that comes to another of the subjects as well, and is heeded there. */
  isHeeded(subject: string, prefixes: readonly string[]): boolean {
    const first = this.prefixes.findIndex((prefix) => prefixes.includes(prefix));
    return first < 0 || subject === this.queries[first] || subject === this.watches[first];
  }
}

/** Tenon's own parts of a message, which Go Micro ignores. */
export interface NatsExtensions {
  /** The beginnings of all subjects to which the same message goes: who hears several of them heeds one. */
  readonly prefixes?: readonly string[] | undefined;
  /** Remaining time of the node's lease, in milliseconds. Nodes of Go Micro have none. */
  readonly leaseMs?: number | undefined;
  /** The instance of a registry that announces the node, and when it first did, in milliseconds since the epoch. */
  readonly owner?: string | undefined;
  readonly sinceMs?: number | undefined;
}

/** A question or an announcement. */
export interface NatsResult {
  /** `get` and `list` ask, the others announce. */
  readonly action: 'get' | 'list' | 'create' | 'update' | 'delete';
  /** The fields of the service: for `get` its name alone, for `list` nothing. */
  readonly service: Readonly<Record<string, unknown>>;
}

// A node with a longer lease is announced again before that.
const maxLeaseMs = 86_400_000;
const actions: readonly unknown[] = ['get', 'list', 'create', 'update', 'delete'];

/** Encodes a question: for a service by its name, or for all of them. */
export function encodeQuery(service: string | undefined, extensions: NatsExtensions): string {
  const named = { name: service, version: '', metadata: null, endpoints: null, nodes: null };
  const isOne = service !== undefined;
  return JSON.stringify({ Service: isOne ? named : null, Action: isOne ? 'get' : 'list', ...extensions });
}

/** Encodes an announcement of the JSON of a service. */
export function encodeAnnouncement(action: 'create' | 'delete', json: string, extensions: NatsExtensions): string {
  return encodeAnswer(`{"Service":${json},"Action":"${action}"}`, extensions);
}

/** Encodes an answer: the JSON of a service. */
export function encodeAnswer(json: string, extensions: NatsExtensions): string {
  return `${json.slice(0, -1)},${JSON.stringify(extensions).slice(1)}`;
}

/** Reads the JSON of a question or an announcement. `undefined` for anything else. */
export function readResult({
  Action: action,
  Service: service,
}: Readonly<Record<string, unknown>>): NatsResult | undefined {
  const isObject = typeof service === 'object' && service !== null && !Array.isArray(service);
  if (!actions.includes(action) || (!isObject && action !== 'list')) return undefined;
  return { action: action as NatsResult['action'], service: isObject ? (service as Record<string, unknown>) : {} };
}

/** Reads tenon's own parts of a message, as far as they are there. */
export function readExtensions(message: Readonly<Record<string, unknown>>): NatsExtensions {
  const { prefixes, leaseMs, owner, sinceMs } = message;
  return {
    prefixes: Array.isArray(prefixes) ? prefixes.filter((one) => typeof one === 'string') : undefined,
    leaseMs: typeof leaseMs === 'number' && leaseMs >= 0 ? Math.min(leaseMs, maxLeaseMs) : undefined,
    owner: typeof owner === 'string' ? owner : undefined,
    sinceMs: typeof sinceMs === 'number' && Number.isSafeInteger(sinceMs) ? sinceMs : undefined,
  };
}
