import type { BrokerCapabilities } from '../../broker/broker.ts';
import { missingCapabilities } from '../../broker/kit/capabilities.ts';
import { type Class, handlerOf, serviceOf } from '../../decorators/decorators.ts';
import type { RegistryCapabilities } from '../../registry/registry.ts';
import type { ServiceOptions } from '../../service/service.ts';
import { describeHandler, type HandlerDescription, packageOf, type Problem, type ProtoLoader } from '../describe.ts';

/** The parts of a composition that the check of services reads. */
export interface ServiceCheckInput {
  readonly loadProto: ProtoLoader;
  /** Options of all services that are stronger than those of a class. */
  readonly options: ServiceOptions;
  /** The bound broker; `undefined` if its capabilities cannot be known. */
  readonly broker: { readonly name: string; readonly capabilities: BrokerCapabilities } | undefined;
  /** The bound registry; `undefined` if its capabilities cannot be known. */
  readonly registry: { readonly name: string; readonly capabilities: RegistryCapabilities } | undefined;
  /** The class name of the codec that clients use by default. */
  readonly codec: string | undefined;
}

/** Lists problems of services and their handlers, apart from their bindings. */
export function checkServices(services: readonly (Class | undefined)[], input: ServiceCheckInput): readonly Problem[] {
  const problems: Problem[] = [];
  const names = new Map<string, string>();
  for (const service of services) {
    const record = typeof service === 'function' ? serviceOf(service) : undefined;
    if (!service || !record) {
      problems.push(notAService(service));
      continue;
    }
    const name = input.options.name ?? record.name;
    const other = names.get(name);
    if (other !== undefined) problems.push(duplicateService(name, other, service.name, input.options.name));
    names.set(name, service.name);
    problems.push(...checkHandlers(service, record.handlers, input));
    problems.push(...checkRegistration(service, { ...record.options, ...said(input.options) }, input));
  }
  return [...problems, ...sharedAddress(names.size, input.options.address)];
}

function checkHandlers(
  service: Class,
  handlers: readonly (Class | undefined)[],
  input: ServiceCheckInput,
): readonly Problem[] {
  const problems: Problem[] = [];
  const taken = new Map<string, string>();
  for (const [index, handler] of handlers.entries()) {
    if (typeof handler !== 'function') {
      problems.push({
        kind: 'not-a-handler',
        where: service.name,
        message: `handlers[${index}] of ${service.name} is ${String(handler)}, not a class`,
        fix: 'if it is a class, two modules import each other: move it to a module of its own',
      });
      continue;
    }
    const description = describeHandler(handler, input.loadProto);
    problems.push(...description.problems);
    for (const { descriptor, property } of description.methods) {
      const place = `${handler.name}.${property}`;
      const other = taken.get(descriptor.path);
      if (other !== undefined) problems.push(duplicateMethod(service, descriptor.path.slice(1), other, place));
      taken.set(descriptor.path, place);
    }
    problems.push(...checkSubscriptions(description, input), ...checkCodec(description, input.codec));
  }
  return problems;
}

function checkRegistration(
  service: Class,
  { register = true }: ServiceOptions,
  { registry }: ServiceCheckInput,
): readonly Problem[] {
  if (!register || registry?.capabilities.registers !== false) return [];
  return [
    {
      kind: 'registry-cannot',
      where: service.name,
      message: `${service.name} would announce itself, and ${registry.name} only finds services: callers would not find it`,
      fix: 'bind a registry that registers (docs/registry.md has the table), or set TENON_REGISTER=false if it is announced by other means',
    },
  ];
}

function said(options: ServiceOptions): ServiceOptions {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}

function checkSubscriptions(description: HandlerDescription, { broker }: ServiceCheckInput): readonly Problem[] {
  if (!broker) return [];
  return description.subscriptions.flatMap(({ descriptor, topic, options }) =>
    missingCapabilities(broker.capabilities, options, topic).map((missing) => ({
      kind: 'broker-cannot',
      where: descriptor.method,
      message: `@Subscribe("${topic}") asks for what neither ${broker.name} nor tenon can do: ${missing}`,
      fix: 'bind a broker that can (docs/broker.md has the table), or do without',
    })),
  );
}

function checkCodec({ target, methods }: HandlerDescription, codec: string | undefined): readonly Problem[] {
  if (codec !== 'BytesMarshaler' || !methods.some(({ descriptor }) => descriptor.input.proto)) return [];
  return [
    {
      kind: 'codec-mismatch',
      where: target.name,
      message: `${target.name} has messages of a .proto, and the codec bytes carries bytes only: no client of this process could call it`,
      fix: 'choose proto or json: TENON_CODEC=proto',
    },
  ];
}

function notAService(service: Class | undefined): Problem {
  const name = typeof service === 'function' ? service.name : String(service);
  const isHandler = typeof service === 'function' && handlerOf(service) !== undefined;
  const message = isHandler
    ? `${name} is a handler, and not a service`
    : `${name} was given as a service, but ${typeof service === 'function' ? 'has no @Service' : 'is no class'}`;
  const fix = isHandler
    ? `list it in a service: @Service({ name: '…', handlers: [${name}] })`
    : typeof service === 'function'
      ? `decorate it: @Service({ name: '…', handlers: [] }) class ${name}`
      : 'if it is a class, two modules import each other: move it to a module of its own';
  return { kind: 'not-a-service', where: name, message, fix };
}

function duplicateService(name: string, first: string, second: string, forced: string | undefined): Problem {
  return {
    kind: 'duplicate-service',
    where: second,
    message: first === second ? `${first} is listed twice` : `${first} and ${second} are both named "${name}"`,
    fix:
      forced === undefined
        ? 'give each service a name of its own'
        : 'unset TENON_SERVER_NAME: it names every service of the process',
  };
}

function duplicateMethod(service: Class, method: string, first: string, second: string): Problem {
  return {
    kind: 'duplicate-method',
    where: second,
    message: `${method} has two handlers in ${service.name}: ${first} and ${second}`,
    fix: 'take one of them out of handlers, or give it another name',
  };
}

/** The problem of several services that would listen on one port. */
function sharedAddress(count: number, address: string | undefined): readonly Problem[] {
  const port = /:(\d+)$/.exec(address ?? '')?.[1];
  if (count < 2 || port === undefined || Number(port) === 0) return [];
  return [
    {
      kind: 'shared-address',
      where: 'TENON_SERVER_ADDRESS',
      message: `${count} services of one process would all listen at ${address}`,
      fix: 'use port 0, or give each service its address: @Service({ address })',
    },
  ];
}

/**
 * Notes on handlers whose callers, if they know only the handler's name, look up another service name than that of its
 * service.
 */
export function unexpectedServiceNames(
  servicesByHandler: ReadonlyMap<string, readonly string[]>,
  explicit: (handler: string) => boolean,
): readonly Problem[] {
  return [...servicesByHandler].flatMap(([handler, services]) => {
    const expected = packageOf(handler);
    const [kind, [service]] = ['unexpected-service-name', services];
    if (service === undefined || services.includes(expected) || explicit(handler)) return [];
    return [
      {
        kind,
        where: handler,
        message: `${handler} is served by "${service}"; callers elsewhere who know only the .proto look for "${expected}"`,
        fix: `name the service so: @Service({ name: '${expected}' }); or let callers say service: '${service}'`,
      },
    ];
  });
}
