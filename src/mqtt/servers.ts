import { packageMissing } from '../errors/package-missing.ts';
import { hostPort, parseHostPorts } from '../internal/host-port.ts';
import type { Timers } from '../runtime/runtime.ts';
import type { ConnectionSecurity } from '../tls/connection.ts';
import { MqttConnection, type MqttLibrary } from './connection.ts';
import { type Meaning, meaningOf } from './errors.ts';
import type { MqttSessionOptions, MqttVersion } from './mqtt.ts';

/** Options of {@link MqttServers}. */
export interface MqttServersOptions {
  /** `host:port`, several separated by commas, with or without `mqtt://` or `mqtts://` before them. */
  readonly address: string;
  readonly version: MqttVersion;
  readonly keepaliveMs: number;
  /** Time for one of the addresses to accept a connection, or for all of them together. */
  readonly timeoutMs: number;
  readonly security: ConnectionSecurity;
  readonly timers: Timers;
}

/** Connects to one of the servers of a cluster, and goes to the next when it cannot be reached. */
export class MqttServers {
  readonly #options: MqttServersOptions;
  readonly #isSecure: boolean;
  readonly #addresses: readonly { readonly host: string; readonly port: number }[];
  #library: MqttLibrary | undefined;
  #closing = new AbortController();
  /** Index of the address in use. */
  #at = 0;
  #wasAnswered = false;

  /** Throws what `invalid` makes of an address that is none. */
  constructor(options: MqttServersOptions, invalid: () => Error) {
    const { address, security } = options;
    const [, scheme, hosts = ''] = /^(?:(mqtts?):\/\/)?(.*)$/s.exec(address) ?? [];
    this.#options = options;
    this.#isSecure = scheme === 'mqtts' || security.hasTls;
    const addresses = parseHostPorts(hosts, this.#isSecure ? 8_883 : 1_883);
    if (!addresses) throw invalid();
    this.#addresses = addresses;
  }

  /** The addresses, separated by commas. */
  get address(): string {
    return this.#addresses.map(({ host, port }) => hostPort(host, port)).join(',');
  }

  /** Connects to the first address that accepts it, from the one in use on. */
  async connectAny(session: MqttSessionOptions): Promise<MqttConnection> {
    if (this.#closing.signal.aborted) this.#closing = new AbortController();
    const count = this.#addresses.length;
    for (let tried = 1; ; tried += 1) {
      try {
        return await this.connect(session);
      } catch (error) {
        if (tried >= count || this.#closing.signal.aborted) throw error;
        this.#at = (this.#at + 1) % count;
      }
    }
  }

  /** Connects to the address in use. */
  async connect(session: MqttSessionOptions): Promise<MqttConnection> {
    const { security, timers, version, keepaliveMs, timeoutMs } = this.#options;
    const { host = '', port = 0 } = this.#addresses[this.#at] ?? {};
    const { username, password } = security;
    this.#library ??= await load();
    const init = {
      library: this.#library,
      timers,
      host,
      port,
      security: { tls: this.#isSecure ? security.tlsOfAddress : undefined, username, password },
      version,
      keepaliveS: Math.max(1, Math.round(keepaliveMs / 1_000)),
      timeoutMs: timeoutMs / this.#addresses.length,
      session,
    };
    const connection = await MqttConnection.open(init, this.#closing.signal);
    this.#wasAnswered = true;
    return connection;
  }

  /** Gives up the attempts to connect that are under way. */
  close(): void {
    this.#closing.abort(new Error('the broker was disconnected'));
  }

  /** The meaning of an error of one of the connections. */
  meaningOf(error: unknown): Meaning {
    const { security, version } = this.#options;
    const said = security.explain(error, this.#addresses[this.#at]?.host ?? '', this.#wasAnswered);
    return said === undefined ? meaningOf(error, version, this.#isSecure) : { kind: 'unreachable', said };
  }
}

// Not as a literal: its types need those of browsers.
const packageName: string = 'mqtt';

async function load(): Promise<MqttLibrary> {
  try {
    return (await import(packageName)) as MqttLibrary;
  } catch (error) {
    throw packageMissing('the broker "mqtt"', packageName, error);
  }
}
