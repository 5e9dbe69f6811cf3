import type { BackendServer } from '../support/servers.ts';

/** A key of etcd, as its gateway for JSON gives it, with texts. */
export interface StoredKey {
  readonly key: string;
  readonly value: string;
  /** The lease as a decimal; `0` for none. */
  readonly lease: string;
}

interface RawKey {
  readonly key: string;
  readonly value?: string;
  readonly lease?: string;
}

/** What an operator does with etcd, by its gateway for JSON: nothing of tenon is in between. */
export class EtcdOperator {
  readonly #server: Pick<BackendServer, 'address'>;
  readonly #token: string | undefined;

  constructor(server: Pick<BackendServer, 'address'>, token?: string) {
    this.#server = server;
    this.#token = token;
  }

  async call(path: string, body: object = {}): Promise<Record<string, unknown>> {
    const response = await fetch(`http://${this.#server.address}/v3/${path}`, {
      method: 'POST',
      body: JSON.stringify(body),
      headers: this.#token === undefined ? {} : { authorization: this.#token },
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${path}: ${response.status} ${text}`);
    return JSON.parse(text) as Record<string, unknown>;
  }

  /** Puts a key, without a lease unless one is given. */
  async put(key: string, value: string, lease = '0'): Promise<void> {
    await this.call('kv/put', { key: base64(key), value: base64(value), lease });
  }

  async remove(key: string): Promise<void> {
    await this.call('kv/deleterange', { key: base64(key) });
  }

  /** Removes keys in one transaction. */
  async removeAtOnce(keys: readonly string[]): Promise<void> {
    await this.call('kv/txn', { success: keys.map((key) => ({ requestDeleteRange: { key: base64(key) } })) });
  }

  /** The keys with a prefix, in order. */
  async keys(prefix: string): Promise<readonly StoredKey[]> {
    const end = Buffer.from(prefix);
    end.writeUInt8((end.at(-1) ?? 0) + 1, end.length - 1);
    const { kvs = [] } = await this.call('kv/range', { key: base64(prefix), rangeEnd: end.toString('base64') });
    return (kvs as readonly RawKey[]).map(({ key, value = '', lease = '0' }) => ({
      key: text(key),
      value: text(value),
      lease,
    }));
  }

  async revision(): Promise<number> {
    const { header } = await this.call('kv/range', { key: base64('x') });
    return Number((header as { readonly revision: string }).revision);
  }

  /** Forgets the history before now. */
  async compact(): Promise<void> {
    try {
      await this.call('kv/compaction', { revision: String(await this.revision()), physical: true });
    } catch (error) {
      // Nothing was written since the last time.
      if (!/has been compacted/.test(String(error))) throw error;
    }
  }

  /** The number of calls of a method that there were, such as `Watch`: a stream is one. */
  async calls(method: string): Promise<number> {
    const text = await (await fetch(`http://${this.#server.address}/metrics`)).text();
    const started = new RegExp(`^grpc_server_started_total\\{[^}]*grpc_method="${method}"[^}]*\\} (\\S+)$`, 'm');
    return Number(started.exec(text)?.[1] ?? 0);
  }

  async leases(): Promise<readonly string[]> {
    const { leases = [] } = await this.call('lease/leases');
    return (leases as readonly { readonly ID: string }[]).map(({ ID }) => ID);
  }

  async revoke(lease: string): Promise<void> {
    await this.call('lease/revoke', { ID: lease });
  }

  async grantedTtl(lease: string): Promise<number> {
    return Number((await this.call('lease/timetolive', { ID: lease }))['grantedTTL']);
  }

  /** Turns authentication on, with the users root and tenon. The latter may use keys with the prefix. */
  async enableAuth(prefix: string): Promise<EtcdOperator> {
    await this.call('auth/user/add', { name: 'root', password: 'root-secret' });
    await this.call('auth/user/grant', { user: 'root', role: 'root' });
    await this.call('auth/role/add', { name: 'services' });
    const end = Buffer.from(prefix);
    end.writeUInt8((end.at(-1) ?? 0) + 1, end.length - 1);
    await this.call('auth/role/grant', {
      name: 'services',
      perm: { permType: 'READWRITE', key: base64(prefix), rangeEnd: end.toString('base64') },
    });
    await this.call('auth/user/add', { name: 'tenon', password: 'first-secret' });
    await this.call('auth/user/grant', { user: 'tenon', role: 'services' });
    await this.call('auth/enable');
    return this.as('root', 'root-secret');
  }

  async as(name: string, password: string): Promise<EtcdOperator> {
    const { token } = await this.call('auth/authenticate', { name, password });
    return new EtcdOperator(this.#server, token as string);
  }
}

function base64(value: string): string {
  return Buffer.from(value).toString('base64');
}

function text(value: string): string {
  return Buffer.from(value, 'base64').toString();
}
