import { expect } from '@jest/globals';

import { ConsulRegistry, type ConsulRegistryOptions } from '../../src/registry/consul.ts';
import { RecordingLogger } from '../../src/testing/recorders.ts';
import { closing } from '../support/closing.ts';

/** An instance of a service, as Consul says it. */
export interface ConsulEntry {
  readonly Node: { readonly Node: string };
  readonly Service: { readonly ID: string; readonly Service: string; readonly Tags: readonly string[] };
  readonly Checks: readonly { readonly CheckID: string; readonly Status: string }[];
}

/** A registry that is closed after the test. */
export function registryAt(
  address: string,
  options: ConsulRegistryOptions = {},
  logger: RecordingLogger = new RecordingLogger(),
): ConsulRegistry {
  const registry = new ConsulRegistry({ address, ...options }, undefined, undefined, undefined, logger);
  closing.push(() => registry.close());
  return registry;
}

/** Consul's own API, for what a test wants to see or to do past the registry. */
export function consulApi(address: string, token?: string) {
  const call = async (method: string, path: string, body?: object): Promise<unknown> => {
    const response = await fetch(`http://${address}/v1/${path}`, {
      method,
      headers: token === undefined ? {} : { 'x-consul-token': token },
      ...(body && { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    expect(`${response.status} ${response.status === 200 ? '' : text}`).toBe('200 ');
    return text === '' ? undefined : (JSON.parse(text) as unknown);
  };
  return {
    call,
    health: async (name: string): Promise<readonly ConsulEntry[]> =>
      (await call('GET', `health/service/${encodeURIComponent(name)}`)) as ConsulEntry[],
    register: (service: object): Promise<unknown> => call('PUT', 'agent/service/register', service),
    deregister: (id: string): Promise<unknown> => call('PUT', `agent/service/deregister/${encodeURIComponent(id)}`),
    check: (status: 'pass' | 'warn' | 'fail', id: string): Promise<unknown> =>
      call('PUT', `agent/check/${status}/${id}`),
  };
}
