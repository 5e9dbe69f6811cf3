import type { ConsulCall, ConsulChannel, ConsulRequest, ConsulResponse } from '../../src/consul/consul.ts';

/** What a scripted agent answers: an object is JSON, with status 200. */
export type Answer = Partial<Omit<ConsulResponse, 'body'>> & { readonly body?: unknown };

/** A channel whose agent answers as the test says. It keeps what it was asked. */
export class ScriptedChannel implements ConsulChannel {
  /** `GET /v1/path?index=1`, in order. */
  readonly asked: string[] = [];
  readonly requests: ConsulRequest[] = [];
  readonly calls: ConsulCall[] = [];
  readonly #answer: (path: string, asked: string) => Answer;

  constructor(answer: (path: string, asked: string) => Answer) {
    this.#answer = answer;
  }

  async request(request: ConsulRequest, call: ConsulCall): Promise<ConsulResponse> {
    call.signal.throwIfAborted();
    const { method, path, query } = request;
    const given = Object.entries(query).filter(([, value]) => value !== undefined);
    const asked = `${method} ${path}${given.length > 0 ? `?${given.map((one) => one.join('=')).join('&')}` : ''}`;
    this.asked.push(asked);
    this.requests.push(request);
    this.calls.push(call);
    const { status = 200, headers = { 'x-consul-index': '7' }, body = '', address } = this.#answer(path, asked);
    return {
      status,
      headers,
      body: typeof body === 'string' ? body : JSON.stringify(body),
      address: address ?? { host: '::1', port: 8500 },
    };
  }
}

/** Parts of an {@link entry}; others are members of its `Service`. */
interface EntryInit {
  readonly meta?: unknown;
  /** The status of each check, by its id. */
  readonly checks?: Readonly<Record<string, string>>;
  readonly [member: string]: unknown;
}

/** An instance of the service `greeter`, as `/v1/health/service` says it. */
export function entry(id: string, { meta = {}, checks = {}, ...more }: EntryInit = {}) {
  return {
    Node: { Node: 'machine', Address: '10.0.0.1' },
    Service: {
      ID: id,
      Service: 'greeter',
      Tags: [],
      Meta: meta,
      Address: '10.0.0.7',
      Port: 7,
      CreateIndex: 3,
      ...more,
    },
    Checks: Object.entries(checks).map(([CheckID, Status]) => ({ CheckID, Status })),
  };
}
