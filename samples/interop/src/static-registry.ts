import { inject, injectable } from 'inversify';
import type { Registry } from 'tenon';
import type { RegistryCapabilities } from 'tenon/registry';
import { DrivenRegistry, type DriverSettings } from 'tenon/registry/kit';

/** Container key of the addresses, `host:port`, separated by commas. */
export const StaticNodes = Symbol.for('interop.StaticNodes');

/** A registry that needs no server: the same nodes answer for every name, and never change. */
@injectable()
export class StaticRegistry extends DrivenRegistry<DriverSettings> implements Registry {
  static readonly capabilities: RegistryCapabilities = {
    registers: false,
    expires: false,
    shared: false,
    watches: false,
  };

  constructor(@inject(StaticNodes) addresses: string) {
    const nodes = addresses
      .split(',')
      .filter((address) => address !== '')
      .map((address) => ({ id: address, address, metadata: {} }));
    const driver = {
      server: 'the list of addresses',
      bounds: { maxReadMs: Number.POSITIVE_INFINITY },
      names: () => Promise.resolve([]),
      read: (name = '') => ({
        nodes: nodes.map((node) => ({
          service: { name, version: 'latest', metadata: {}, endpoints: [], nodes: [node] },
        })),
      }),
      failure: () => ({ kind: 'refused' as const }),
    };
    const { capabilities } = StaticRegistry;
    super({ name: 'static', capabilities, optionsName: 'StaticRegistryOptions', open: () => driver }, {});
  }
}
