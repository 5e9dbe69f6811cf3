import { Metadata, type MetadataValue } from '../../context/metadata.ts';
import { Code, TenonError } from '../../errors/errors.ts';
import { hiddenKeys, isMicroCall, readTimeout, timeoutKey } from '../../go-micro/call-headers.ts';
import { callPath, shortPath } from '../../go-micro/paths.ts';
import type { MethodDescriptor } from '../../pipeline/pipeline.ts';
import type { ServerHandler } from '../server.ts';

/** The parts of a call that a client of Go Micro has made. */
export interface MicroCall {
  /** The metadata without the headers that only Go Micro's client and server use. */
  readonly metadata: Metadata;
  /** The time-out in milliseconds; `undefined` if the call names none. */
  readonly timeoutMs: number | undefined;
}

/**
 * Reads the headers that Go Micro's client adds to a call; `undefined` for calls of others. Its client always sends
 * `x-content-type`, so a `timeout` without one is an application's own.
 */
export function microCallOf(headers: Metadata | undefined): MicroCall | undefined {
  if (!headers || !isMicroCall(headers)) return undefined;
  return {
    metadata: Metadata.lazy({ raw: headers, read: shown, find: findShown }),
    timeoutMs: readTimeout(headers.text(timeoutKey)),
  };
}

function* shown(headers: Metadata): Iterable<[string, MetadataValue]> {
  for (const entry of headers) if (!hiddenKeys.has(entry[0])) yield entry;
}

function findShown(headers: Metadata, key: string): MetadataValue | undefined {
  return hiddenKeys.has(key) ? undefined : headers.get(key);
}

/** Finds the methods of a server by Go Micro's paths. */
export interface MicroRoutes {
  /** Returns the method for the transport, with Go Micro's paths as aliases. */
  readonly routeOf: (method: MethodDescriptor) => MethodDescriptor;
  /** Finds a method by its type and name alone, since Go Micro's server ignores the package in a path. */
  readonly resolve: (path: string) => MethodDescriptor | undefined;
}

/**
 * Gives each method that is registered the paths of Go Micro: `/<name>.<Type>/<Method>`, `/<Type>/<Method>`, and by
 * `resolve` any other prefix of the type. Throws ALREADY_EXISTS (`server.duplicate_method`) for two methods that
 * would have the same path.
 */
export function microRoutes(handlers: readonly ServerHandler[], name: string): MicroRoutes {
  const owners = new Map<string, ServerHandler>();
  for (const handler of handlers) {
    for (const { descriptor } of handler.methods) {
      for (const path of [descriptor.path, ...descriptor.aliases]) owners.set(path, handler);
    }
  }
  const routes = new Map<MethodDescriptor, MethodDescriptor>();
  const byShortPath = new Map<string, MethodDescriptor>();
  for (const handler of handlers) {
    if (handler.internal) continue;
    for (const { descriptor } of handler.methods) {
      const own = [descriptor.path, ...descriptor.aliases];
      const short = shortPath(descriptor.path);
      const aliases = [short, callPath(name, short)].filter((path) => !own.includes(path));
      for (const path of aliases) {
        const owner = owners.get(path);
        if (owner) throw ambiguous(path, owner.name, handler.name);
        owners.set(path, handler);
      }
      const route = { ...descriptor, aliases: [...descriptor.aliases, ...aliases] };
      routes.set(descriptor, route);
      byShortPath.set(short, route);
    }
  }
  return {
    routeOf: (method) => routes.get(method) ?? method,
    resolve: (path) => byShortPath.get(shortPath(path)),
  };
}

function ambiguous(path: string, owner: string, other: string): TenonError {
  const who = owner === other ? `two methods of ${owner}` : `${owner} and ${other}`;
  return new TenonError({
    code: Code.AlreadyExists,
    reason: 'server.duplicate_method',
    message:
      `${path} is the path of ${who} for clients of Go Micro, which tell services apart by what is behind the last dot: ` +
      "serve them from two servers, or leave the dialect 'go-micro' off",
  });
}
