import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  request as httpRequest,
  type RequestListener,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo } from 'node:net';

import { expect } from '@jest/globals';

import { ConsulRegistry, type ConsulRegistryOptions } from '../../src/registry/consul.ts';
import { RecordingLogger } from '../../src/testing/recorders.ts';
import { closing } from '../support/closing.ts';

/** An instance of a service, as Consul says it. */
export interface ConsulEntry {
  readonly Node: { readonly Node: string };
  readonly Service: {
    readonly ID: string;
    readonly Service: string;
    readonly Tags: readonly string[];
    readonly Meta: Readonly<Record<string, string>>;
  };
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

/** An HTTP server of the test's own, which ends with it. */
export async function httpServer(listener: RequestListener): Promise<string> {
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closing.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** An HTTP proxy in front of an agent. */
export interface AgentProxy {
  readonly address: string;
  /** What it was asked: `PUT /v1/agent/service/register`. */
  readonly requests: string[];
  /** The address of the agent. */
  to: string;
  /** Answers a request itself, and returns true, or leaves it to the agent. */
  answer?: ((asked: IncomingMessage, answer: ServerResponse) => boolean) | undefined;
  /** Changes the headers of answers. */
  headers?: ((headers: IncomingHttpHeaders) => IncomingHttpHeaders) | undefined;
}

/** Passes HTTP on to an agent. */
export async function agentProxy(to: string): Promise<AgentProxy> {
  const requests: string[] = [];
  const address = await httpServer((asked, answer) => {
    const { method, url: path = '' } = asked;
    requests.push(`${method} ${path}`);
    if (proxy.answer?.(asked, answer) === true) return;
    const [host, port] = proxy.to.split(':');
    const passed = httpRequest({ host, port, method, path, headers: asked.headers }, (response) => {
      answer.writeHead(response.statusCode ?? 502, proxy.headers?.(response.headers) ?? response.headers);
      response.pipe(answer);
      response.on('error', () => answer.destroy());
    });
    passed.on('error', () => answer.destroy());
    answer.on('close', () => passed.destroy());
    asked.pipe(passed);
  });
  const proxy: AgentProxy = { address, requests, to };
  return proxy;
}
