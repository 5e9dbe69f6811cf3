import type { ClientSource } from '../client/client-of.ts';
import type { Client } from '../client/client.ts';
import { Code, TenonError } from '../errors/errors.ts';
import { type ClientDescription, describeClient, packageOf, type ProtoLoader } from './describe.ts';

/** Makes the typed client of a described service: an object with one function per method, each prepared once. */
export function typedClient(client: Client, description: ClientDescription): object {
  const methods = [...description.methods].map(([property, method]) => [
    property,
    client.method(method, description.service),
  ]);
  return Object.freeze(Object.fromEntries(methods));
}

/**
 * Makes a typed client from an argument of `clientOf`. Throws INVALID_ARGUMENT (`client.invalid_source`) with all
 * problems of the argument.
 */
export function clientFrom(
  client: Client,
  source: ClientSource,
  loadProto: ProtoLoader,
  servicesByHandler: ReadonlyMap<string, readonly string[]>,
): object {
  const description = describeClient(source, loadProto);
  if (description.problems.length > 0) {
    const problems = description.problems.map(({ where, message, fix }) => `${where}: ${message}; ${fix}`);
    throw new TenonError({ code: Code.InvalidArgument, reason: 'client.invalid_source', message: problems.join('\n') });
  }
  return typedClient(client, { ...description, service: registryName(description, servicesByHandler) });
}

/**
 * The service name that the client looks up in the registry: the one given to `clientOf` or `@Handler`; else that of
 * the service in this program that has the handler; else the package of the handler's name.
 */
function registryName(
  { name, service }: ClientDescription,
  servicesByHandler: ReadonlyMap<string, readonly string[]>,
): string {
  const named = servicesByHandler.get(name) ?? [];
  return service !== packageOf(name) || named.includes(service) ? service : (named[0] ?? service);
}
