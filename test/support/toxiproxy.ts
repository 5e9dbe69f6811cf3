import { BackendServer } from './servers.ts';

/** A disturbance of Toxiproxy: `latency` and `jitter`, `timeout`, `limit_data`, `bandwidth`, `slicer`, `reset_peer`. */
export interface Toxic {
  readonly type: string;
  readonly attributes?: Readonly<Record<string, number>>;
  /** @default both directions */
  readonly stream?: 'upstream' | 'downstream';
}

/** Connections to one server that can be cut, slowed and swallowed. */
export class ToxicProxy {
  /** `127.0.0.1:<port>`: connect here instead of to the server. */
  readonly address: string;
  readonly #url: string;
  readonly #toxics = new Set<string>();

  constructor(url: string, address: string) {
    this.#url = url;
    this.address = address;
  }

  /** Closes every connection, and accepts none until `heal()`. */
  async cut(): Promise<void> {
    await call(this.#url, 'POST', { enabled: false });
  }

  /** Lets connections stand, and no byte through. */
  async swallow(): Promise<void> {
    await this.add({ type: 'timeout', attributes: { timeout: 0 } });
  }

  async add({ type, attributes = {}, stream }: Toxic): Promise<void> {
    for (const one of stream ? [stream] : ['upstream', 'downstream']) {
      const name = `${type}-${one}-${this.#toxics.size}`;
      await call(`${this.#url}/toxics`, 'POST', { name, type, stream: one, attributes });
      this.#toxics.add(name);
    }
  }

  /** Ends all disturbances. Connections whose bytes were swallowed are closed, as Toxiproxy does. */
  async heal(): Promise<void> {
    await Promise.all([...this.#toxics].map((name) => call(`${this.#url}/toxics/${name}`, 'DELETE')));
    this.#toxics.clear();
    await call(this.#url, 'POST', { enabled: true });
  }
}

/** A toxiproxy-server. Its proxies end with it. */
export class Toxiproxy extends BackendServer {
  #proxies = 0;

  constructor() {
    super('toxiproxy');
  }

  /** Makes a proxy on a free port. */
  async proxy(upstream: string): Promise<ToxicProxy> {
    const name = `proxy-${(this.#proxies += 1)}`;
    const url = `http://${this.address}/proxies`;
    const { listen } = (await call(url, 'POST', { name, listen: '127.0.0.1:0', upstream, enabled: true })) as {
      listen: string;
    };
    return new ToxicProxy(`${url}/${name}`, listen);
  }
}

async function call(url: string, method: string, body?: object): Promise<unknown> {
  const response = await fetch(url, { method, ...(body && { body: JSON.stringify(body) }) });
  const text = await response.text();
  if (!response.ok) throw new Error(`${method} ${url}: ${response.status} ${text}`);
  return text === '' ? undefined : JSON.parse(text);
}
