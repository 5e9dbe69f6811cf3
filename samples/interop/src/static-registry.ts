import { inject, injectable } from 'inversify';
import type { Registry, ServiceRecord, Watcher } from 'tenon';
import { type RegistryCapabilities, type RegistryOptions, serviceNotFound } from 'tenon/registry';

/** Container key of the addresses, `host:port`, separated by commas. */
export const StaticNodes = Symbol.for('interop.StaticNodes');

/** A registry that needs no server: the same nodes answer for every name, and never change. */
@injectable()
export class StaticRegistry implements Registry {
  static readonly capabilities: RegistryCapabilities = { expires: false, shared: false, watches: false };

  options: RegistryOptions = {};
  readonly #addresses: readonly string[];

  constructor(@inject(StaticNodes) nodes: string) {
    this.#addresses = nodes.split(',').filter((address) => address !== '');
  }

  init(options: RegistryOptions): void {
    this.options = { ...this.options, ...options };
  }

  async register(): Promise<void> {
    // The list is all there is: nobody is added to it.
  }

  async deregister(): Promise<void> {
    // Nor taken from it.
  }

  async getService(name: string): Promise<readonly ServiceRecord[]> {
    if (this.#addresses.length === 0) throw serviceNotFound('static', name);
    const nodes = this.#addresses.map((address) => ({ id: address, address, metadata: {} }));
    return [{ name, version: 'latest', metadata: {}, endpoints: [], nodes }];
  }

  async listServices(): Promise<readonly ServiceRecord[]> {
    return [];
  }

  async watch(): Promise<Watcher> {
    let stop = (): void => {};
    const stopped = new Promise<IteratorResult<never, undefined>>((resolve) => {
      stop = () => resolve({ done: true, value: undefined });
    });
    return { stop, [Symbol.asyncIterator]: () => ({ next: () => stopped }) };
  }

  async close(): Promise<void> {
    // Nothing is open.
  }

  toString(): string {
    return 'static';
  }
}
