import type { ClientSource } from '../client/client-of.ts';
import type { Client } from '../client/client.ts';
import { Code, TenonError } from '../errors/errors.ts';
import { type ClientDescription, describeClient, packageOf, type ProtoLoader } from './describe.ts';

/** The typed client of a described service: an object with one function per method, each prepared once. */
export function typedClient(client: Client, description: ClientDescription): object {
  const methods = [...description.methods].map(([property, method]) => [
    property,
    client.method(method, description.service),
  ]);
  return Object.freeze(Object.fromEntries(methods));
}

/**
 * A typed client straight from what `clientOf` takes. Throws INVALID_ARGUMENT (`client.invalid_source`) listing what is
 * wrong with it.
 */
export function clientFrom(
  client: Client,
  source: ClientSource,
  loadProto: ProtoLoader,
  hosts: ReadonlyMap<string, readonly string[]>,
): object {
  const description = describeClient(source, loadProto);
  if (description.problems.length > 0) {
    const problems = description.problems.map(({ where, message, fix }) => `${where}: ${message}; ${fix}`);
    throw new TenonError({ code: Code.InvalidArgument, reason: 'client.invalid_source', message: problems.join('\n') });
  }
  return typedClient(client, { ...description, service: registryName(description, hosts) });
}

/**
 * The name that is said to the client; else that of the service of this program which has the handler; else the package
 * of its name.
 */
function registryName({ name, service }: ClientDescription, hosts: ReadonlyMap<string, readonly string[]>): string {
  const named = hosts.get(name) ?? [];
  return service !== packageOf(name) || named.includes(service) ? service : (named[0] ?? service);
}
