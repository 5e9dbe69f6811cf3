import { type ClientOf, ClientOptions, System, TransportTlsOptions } from 'tenon';

import { type ConformanceApi, conformanceSource } from './conformance-api.ts';
import type { ClientCompatRequest } from './conformance-calls.ts';
import { tenonEnv } from './settings.ts';

/** A client for each way to connect that the runner asks for: TLS and limits are the whole client's. */
export class ConformanceClients {
  readonly #systems = new Map<string, Promise<System>>();

  async for({
    serverTlsCert,
    clientTlsCreds,
    messageReceiveLimit,
  }: ClientCompatRequest): Promise<ClientOf<ConformanceApi>> {
    const tls =
      serverTlsCert.length > 0
        ? { ca: text(serverTlsCert), cert: text(clientTlsCreds?.cert), key: text(clientTlsCreds?.key) }
        : undefined;
    const limits = messageReceiveLimit > 0 ? { maxReceiveBytes: messageReceiveLimit } : {};
    const key = JSON.stringify([tls, limits]);
    let system = this.#systems.get(key);
    if (!system) {
      system = System.start([], {
        env: tenonEnv(process.env),
        bind: (container) => {
          container.rebind(ClientOptions).toConstantValue(limits);
          if (tls) container.bind(TransportTlsOptions).toConstantValue({ client: tls });
        },
      });
      this.#systems.set(key, system);
    }
    return (await system).client<ConformanceApi>(conformanceSource);
  }

  async close(): Promise<void> {
    for (const system of this.#systems.values()) await (await system).stop();
  }
}

function text(bytes: Uint8Array | undefined): string | undefined {
  return bytes && bytes.length > 0 ? Buffer.from(bytes).toString() : undefined;
}
