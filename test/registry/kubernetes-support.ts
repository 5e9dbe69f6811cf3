import { readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { Agent, request } from 'node:https';

import { afterAll } from '@jest/globals';

import type { EndpointSlice } from '../../src/kubernetes/endpoint-slice.ts';
import { KubernetesRegistry, type KubernetesRegistryOptions } from '../../src/registry/kubernetes.ts';
import type { Clock } from '../../src/runtime/runtime.ts';
import { BackendServer, type ServerOptions } from '../support/servers.ts';

const agent = new Agent({ keepAlive: true });
afterAll(() => agent.destroy());

interface Answer {
  readonly status: number;
  readonly body: Readonly<Record<string, unknown>>;
}

/** A Kubernetes API server with its etcd and CoreDNS. */
export class KubernetesServer extends BackendServer {
  constructor(options: ServerOptions = {}) {
    super('kubernetes', options);
  }

  detail(name: string): string {
    return this.details[name] ?? '';
  }

  /** A request of an administrator. */
  async ask(method: string, path: string, body?: object, type = 'application/json'): Promise<Answer> {
    const [host = '', port] = this.address.split(':');
    const headers = { authorization: `Bearer ${this.detail('token')}`, ...(body && { 'content-type': type }) };
    const ca = readFileSync(this.detail('caFile'));
    return new Promise((resolve, reject) => {
      const sent = request({ host, port, method, path, headers, ca, agent }, (response) => {
        let text = '';
        response.on('data', (data) => (text += String(data)));
        response.once('end', () =>
          resolve({ status: response.statusCode ?? 0, body: JSON.parse(text) as object as Answer['body'] }),
        );
      });
      sent.once('error', reject);
      sent.end(body && JSON.stringify(body));
    });
  }

  /** As `ask`, of something that has to work. */
  async done(method: string, path: string, body?: object, type?: string): Promise<Answer['body']> {
    const { status, body: answer } = await this.ask(method, path, body, type);
    if (status >= 300) throw new Error(`${method} ${path}: ${status} ${JSON.stringify(answer)}`);
    return answer;
  }

  /** Creates or replaces a slice of a Service, as a controller does. */
  async putSlice(name: string, service: string, slice: EndpointSlice, namespace = 'default'): Promise<void> {
    const path = slicesPath(namespace);
    const metadata = {
      name,
      labels: {
        'kubernetes.io/service-name': service,
        'endpointslice.kubernetes.io/managed-by': 'endpointslice-controller.k8s.io',
        ...slice.metadata?.labels,
      },
    };
    const body = {
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      addressType: 'IPv4',
      ports: [
        {
          name: 'grpc',
          port: 9e3,
          protocol: 'TCP',
        },
      ],
      ...slice,
      metadata,
    };
    const { status } = await this.ask('POST', path, body);
    if (status === 409) await this.done('PUT', `${path}/${name}`, body);
    else if (status >= 300) throw new Error(`${name} cannot be created: ${status}`);
  }

  /** Makes a service account with these rights to slices. */
  async account(name: string, verbs: readonly string[]): Promise<ServiceAccount> {
    const account = new ServiceAccount(this, name);
    await this.done('POST', accountsPath, { metadata: { name } });
    const rules = [{ apiGroups: ['discovery.k8s.io'], resources: ['endpointslices'], verbs }];
    await this.done('POST', `${rbacPath}/roles`, { metadata: { name }, rules });
    await account.allow();
    return account;
  }

  async deleteSlice(name: string, namespace = 'default'): Promise<void> {
    await this.done('DELETE', `${slicesPath(namespace)}/${name}`);
  }

  /** The slices of a service, or of all. */
  async slices(service?: string, namespace = 'default'): Promise<readonly EndpointSlice[]> {
    const query = service === undefined ? '' : `?labelSelector=kubernetes.io/service-name=${service}`;
    const { items } = await this.done('GET', `${slicesPath(namespace)}${query}`);
    return items as EndpointSlice[];
  }
}

const accountsPath = '/api/v1/namespaces/default/serviceaccounts';
const secretsPath = '/api/v1/namespaces/default/secrets';
const rbacPath = '/apis/rbac.authorization.k8s.io/v1/namespaces/default';

/** A service account, whose rights and tokens come and go. What it may is known a moment after it was said. */
export class ServiceAccount {
  readonly #cluster: KubernetesServer;
  readonly #name: string;

  constructor(cluster: KubernetesServer, name: string) {
    this.#cluster = cluster;
    this.#name = name;
  }

  async allow(): Promise<void> {
    await this.#cluster.done('POST', `${rbacPath}/rolebindings`, {
      metadata: { name: this.#name },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: this.#name },
      subjects: [{ kind: 'ServiceAccount', name: this.#name, namespace: 'default' }],
    });
  }

  async forbid(): Promise<void> {
    await this.#cluster.done('DELETE', `${rbacPath}/rolebindings/${this.#name}`);
  }

  async token(spec: object = {}): Promise<string> {
    const body = { spec: { expirationSeconds: 3_600, ...spec } };
    const { status } = await this.#cluster.done('POST', `${accountsPath}/${this.#name}/token`, body);
    return (status as { token: string }).token;
  }

  /** A token that is valid until it is revoked by its name. */
  async boundToken(name: string): Promise<string> {
    const { metadata } = await this.#cluster.done('POST', secretsPath, { metadata: { name } });
    const { uid } = metadata as { uid: string };
    return this.token({ boundObjectRef: { kind: 'Secret', apiVersion: 'v1', name, uid } });
  }

  async revoke(name: string): Promise<void> {
    await this.#cluster.done('DELETE', `${secretsPath}/${name}`);
  }
}

function slicesPath(namespace: string): string {
  return `/apis/discovery.k8s.io/v1/namespaces/${namespace}/endpointslices`;
}

/** Calls `body` with a registry over the cluster, and closes it. */
export async function usingRegistry(
  cluster: KubernetesServer,
  options: KubernetesRegistryOptions & {
    readonly logger?: ConstructorParameters<typeof KubernetesRegistry>[4];
    readonly clock?: Clock;
  },
  body: (registry: KubernetesRegistry) => Promise<void>,
): Promise<void> {
  const { logger, clock, ...more } = options;
  const kubeconfig = more.address === undefined ? { kubeconfig: cluster.detail('kubeconfig') } : {};
  const registry = new KubernetesRegistry({ ...kubeconfig, ...more }, clock, undefined, undefined, logger);
  try {
    await body(registry);
  } finally {
    await registry.close();
  }
}

/** What a proxy does with a request: an answer of its own, a connection that it cuts, or the API server's answer. */
export type ProxyRule = (request: IncomingMessage) => ProxyOutcome | Promise<ProxyOutcome>;
type ProxyOutcome =
  | { readonly status: number; readonly body?: string; readonly headers?: Readonly<Record<string, string>> }
  | 'cut'
  | 'pass';

/**
 * Stands in front of the API server as `kubectl proxy` does: it speaks HTTP, and brings the token of an administrator.
 * Counts the requests.
 */
export class ApiProxy {
  readonly requests: string[] = [];
  /** The status of each answer of the API server. */
  readonly statuses: number[] = [];
  /** The `ERROR` events within answers of the API server. */
  readonly errors: string[] = [];
  /** Shown to the API server. @default the token of an administrator */
  token: string | undefined;
  rule: ProxyRule = () => 'pass';
  readonly #server: Server;
  readonly #cluster: KubernetesServer;
  #port = 0;

  constructor(cluster: KubernetesServer) {
    this.#cluster = cluster;
    this.#server = createServer((from, to) => void this.#serve(from, to));
  }

  get address(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  async start(): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(this.#port, '127.0.0.1', resolve));
    this.#port = (this.#server.address() as { port: number }).port;
    return this;
  }

  /** Ends all connections. */
  cut(): void {
    this.#server.closeAllConnections();
  }

  /** Listens no longer: connections are refused. */
  async stop(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.cut();
    await closed;
  }

  async #serve(from: IncomingMessage, to: ServerResponse): Promise<void> {
    this.requests.push(`${from.method} ${from.url}`);
    const rule = await this.rule(from);
    if (rule === 'cut') return void from.socket.destroy();
    if (rule !== 'pass') {
      to.writeHead(rule.status, { 'content-type': 'application/json', ...rule.headers });
      to.end(rule.body ?? '{}');
      return;
    }
    const [host = '', port] = this.#cluster.address.split(':');
    const token = this.token ?? this.#cluster.detail('token');
    const headers = { ...from.headers, host: '', authorization: `Bearer ${token}` };
    const { method, url: path } = from;
    const sent = request(
      { host, port, method, path, headers, ca: readFileSync(this.#cluster.detail('caFile')) },
      (answer) => {
        this.statuses.push(answer.statusCode ?? 0);
        answer.on('data', (data) => {
          const lines = String(data).split('\n');
          this.errors.push(...lines.filter((line) => line.startsWith('{"type":"ERROR"')));
        });
        to.writeHead(answer.statusCode ?? 502, answer.headers);
        to.flushHeaders();
        answer.pipe(to);
        answer.once('error', () => to.destroy());
      },
    );
    to.once('close', () => sent.destroy());
    sent.once('error', () => to.destroy());
    from.pipe(sent);
  }
}
