import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { canonicalName } from '../../src/dns/names.ts';
import { DnsRegistry, type DnsRegistryOptions } from '../../src/registry/dns.ts';
import { NodeTable } from '../../src/registry/kit/node-table.ts';
import type { RegistryHarness } from '../../src/testing/internal/registry-fixture.ts';
import type { BackendServer } from '../support/servers.ts';

/** The zone of a CoreDNS, which reads its file again when it changes. */
export class DnsZone {
  readonly #server: BackendServer;
  #serial = 1;
  #lines: readonly string[] = [];

  constructor(server: BackendServer) {
    this.#server = server;
  }

  /** Replaces the records: lines as `greeter.suite.test. 1 IN A 10.0.0.1`. */
  write(lines: readonly string[], { negativeTtl = 0 }: { readonly negativeTtl?: number } = {}): void {
    this.#serial += 1;
    this.#lines = lines;
    const soa = `. ${negativeTtl} IN SOA ns. admin. ${this.#serial} 3600 600 86400 ${negativeTtl}`;
    const path = join(this.#server.folder, 'zone');
    writeFileSync(`${path}.new`, `${[soa, '. 60 IN NS ns.', ...this.#lines].join('\n')}\n`);
    renameSync(`${path}.new`, path);
  }
}

/** The records of one SRV service: a name `_grpc._tcp.<service>.suite.test` and its targets. */
export function srvLines(
  service: string,
  nodes: readonly { readonly id: string; readonly address: string }[],
  ttl = 0,
): string[] {
  return nodes.flatMap(({ id, address }) => {
    const [host = '', port = ''] = address.split(':');
    const name = `_grpc._tcp.${service}.suite.test.`;
    return [`${name} ${ttl} IN SRV 0 0 ${port} ${id}.`, `${id}. ${ttl} IN A ${host}`];
  });
}

/** A registry over a CoreDNS of a test. */
export function dnsRegistry(server: BackendServer, options: DnsRegistryOptions = {}): DnsRegistry {
  return new DnsRegistry({ address: server.address, domain: 'suite.test', minReadMs: 50, ...options });
}

/** Registries over one zone, and what stands in for announcements there. The id of a node is the name of its target. */
export function dnsHarness(server: BackendServer): RegistryHarness {
  const table = new NodeTable();
  const zone = new DnsZone(server);
  const write = (): void =>
    zone.write([...table.nodes()].flatMap(({ service }) => srvLines(service.name, service.nodes)));
  return {
    make: () => dnsRegistry(server),
    capabilities: DnsRegistry.capabilities,
    settleMs: 10_000,
    isLegalName: (name) => canonicalName(name) !== undefined,
    suiteIdOf: (id) => id.replace(/:\d+$/, ''),
    seed: (service) => {
      for (const node of service.nodes) table.put({ ...structuredClone(service), nodes: [structuredClone(node)] });
      write();
    },
    unseed: ({ name, nodes }) => {
      for (const { id } of nodes) table.remove(name, id);
      write();
    },
  };
}
