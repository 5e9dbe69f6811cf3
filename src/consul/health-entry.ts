import { checkIdOf } from '../go-micro/consul.ts';
import { ForeignAnswerError } from './consul.ts';

/** The registration of a service, which may be anybody's. */
export interface RegisteredService {
  readonly id: string;
  readonly name: string;
  readonly tags: readonly string[];
  readonly meta: unknown;
  readonly address: string;
  /** 0 if it has none. */
  readonly port: number;
}

/** A service as its agent has it. */
export interface AgentService extends RegisteredService {
  /** True if a check of it is critical. */
  readonly isCritical: boolean;
}

/** One instance of a service as the catalog has it. */
export interface HealthEntry extends RegisteredService {
  readonly node: string;
  readonly nodeAddress: string;
  /** Number of the change by which it was registered. */
  readonly index: number;
  /** True if another check than its own is critical: of the service, or of the machine that it is on. */
  readonly isCritical: boolean;
  /** True if the time of its own check has passed. */
  readonly hasLapsed: boolean;
}

/** Reads the answer of `/v1/health/service`. Throws {@link ForeignAnswerError}. */
export function entriesIn(body: string): readonly HealthEntry[] {
  const answer = jsonIn(body);
  if (!Array.isArray(answer)) throw new ForeignAnswerError(body);
  return answer.map((one) => {
    const { Node, Service, Checks } = objectIn(one, body);
    const [node, service] = [objectIn(Node, body), serviceIn(objectIn(Service, body))];
    const checkId = checkIdOf(service.id);
    const critical = listIn(Checks)
      .map((check) => objectIn(check, body))
      .filter(({ Status }) => Status === 'critical');
    return {
      ...service,
      node: textIn(node['Node']),
      nodeAddress: textIn(node['Address']),
      index: numberIn((Service as Fields)['CreateIndex']),
      isCritical: critical.some(({ CheckID }) => CheckID !== checkId),
      hasLapsed: critical.some(({ CheckID }) => CheckID === checkId),
    };
  });
}

/** Reads the answer of `/v1/agent/health/service/id`. Throws {@link ForeignAnswerError}. */
export function agentServiceIn(body: string): AgentService {
  const { AggregatedStatus, Service } = objectIn(jsonIn(body), body);
  return { ...serviceIn(objectIn(Service, body)), isCritical: AggregatedStatus === 'critical' };
}

/**
 * Reads the answer of `/v1/catalog/services`: the tags by name. Consul itself is among them, and left out; so are
 * services that nobody can ask for. Throws {@link ForeignAnswerError}.
 */
export function namesIn(body: string): ReadonlyMap<string, string> {
  const all = Object.entries(objectIn(jsonIn(body), body));
  if (!all.every(([, tags]) => tags === null || Array.isArray(tags))) throw new ForeignAnswerError(body);
  const found = all.filter(([name]) => name !== 'consul' && isAskable(name));
  return new Map(found.map(([name, tags]) => [name, JSON.stringify(tags)]));
}

/**
 * True if a service of that name can be asked for. The path of another one is no text, is refused for its control
 * characters, or is cleaned by servers, which redirect the query to what is left of it.
 */
export function isAskable(name: string): boolean {
  return isText(name) && !/^$|\p{Cc}|^\/|\/\/|(?:^|\/)\.{1,2}(?:\/|$)/u.test(name);
}

/** False for a text with half a surrogate pair, which no UTF-8 can carry. */
export function isText(text: string): boolean {
  return !/\p{Surrogate}/u.test(text);
}

type Fields = Readonly<Record<string, unknown>>;

function serviceIn({ ID, Service, Tags, Meta, Address, Port }: Fields): RegisteredService {
  const tags = listIn(Tags).map(textIn);
  return { id: textIn(ID), name: textIn(Service), tags, meta: Meta, address: textIn(Address), port: numberIn(Port) };
}

function jsonIn(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    throw new ForeignAnswerError(body);
  }
}

function objectIn(value: unknown, body: string): Fields {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new ForeignAnswerError(body);
  return value as Fields;
}

function listIn(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function textIn(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

function numberIn(value: unknown): number {
  return Number.isSafeInteger(value) ? (value as number) : 0;
}
