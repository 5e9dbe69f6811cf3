/*
 * The HTTP API of Consul's agents, for backends: `ConsulClient` makes the calls, `AgentServices` keeps the services of
 * one owner at agents.
 */

/** The host and port of an agent. */
export interface AgentAddress {
  readonly host: string;
  readonly port: number;
}

/** An HTTP request to an agent. */
export interface ConsulRequest {
  readonly method: string;
  readonly path: string;
  readonly query: Readonly<Record<string, string | number | undefined>>;
  readonly body?: string | undefined;
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** True if it may be sent again though an agent may have processed it. */
  readonly isRepeatable: boolean;
  /** True for the status of an answer after which the next agent is asked, if there is one. */
  readonly retriesAfter: (status: number) => boolean;
}

/** The bounds of a call. */
export interface ConsulCall {
  readonly signal: AbortSignal;
  readonly timeoutMs?: number | undefined;
  /** The one agent to ask. @default any */
  readonly at?: AgentAddress | undefined;
}

/** The answer of an agent, whatever its status is. */
export interface ConsulResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
  /** The agent that answered. */
  readonly address: AgentAddress;
}

/** The HTTP connections of a {@link ConsulClient}. An `HttpChannel` of the registry's kit is one. */
export interface ConsulChannel {
  request(request: ConsulRequest, call: ConsulCall): Promise<ConsulResponse>;
}

const connectionRemedy =
  'Each service that is followed holds a connection. Raise limits.http_max_conns_per_client of the agent, which is 200 unless it is told otherwise';

/** An answer with a status that is none of success. */
export class ConsulStatusError extends Error {
  readonly status: number;
  /** The beginning of the body, in one line. */
  readonly said: string;
  /** The remedy, for an agent that takes no more connections from this address. */
  readonly remedy: string | undefined;

  constructor({ method, path }: ConsulRequest, { status, headers, body, address }: ConsulResponse) {
    const said = beginningOf(body, 400);
    const { location } = headers;
    const host = address.host.includes(':') ? `[${address.host}]` : address.host;
    const isMoved = status >= 300 && status < 400 && typeof location === 'string';
    const what = isMoved ? `${status}, to ${beginningOf(location, 200)}` : `${status}: ${said}`;
    super(`${method} ${path} at ${host}:${address.port} was answered with status ${what}`);
    this.status = status;
    this.said = said;
    this.remedy = status === 429 && /too many concurrent connections/i.test(said) ? connectionRemedy : undefined;
  }
}

/** An answer of success that no agent of Consul gives. */
export class ForeignAnswerError extends Error {
  constructor(body: string) {
    super(`its answer is not that of a Consul agent: "${beginningOf(body, 80)}"`);
  }
}

/** The beginning of a text in one line. */
function beginningOf(text: string, length: number): string {
  return text.slice(0, length).replace(/\s+/g, ' ').trim();
}
