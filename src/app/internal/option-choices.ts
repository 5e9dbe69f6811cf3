import type { BindingService } from '@inversifyjs/core';
import type { ServiceIdentifier } from 'inversify';

import { Broker } from '../../broker/broker.ts';
import { ClientOptions } from '../../client/client.ts';
import { MessageLimits } from '../../codec/codec.ts';
import { serviceOf } from '../../decorators/decorators.ts';
import { Logger } from '../../logger/logger.ts';
import { Registry } from '../../registry/registry.ts';
import { ServerOptions } from '../../server/server.ts';
import { ServiceOptions } from '../../service/service.ts';
import { TransportTlsOptions } from '../../transport/tls.ts';
import { Transport, type TransportCapabilities } from '../../transport/transport.ts';
import type { Choice, ChoiceSources } from '../choices.ts';
import { backendChoice, clientFields, type Config, messageFields, serviceFields } from '../config.ts';
import type { AddressedRoom } from './backend-row.ts';
import { backendRow } from './backend-table.ts';
import { allBindings } from './bindings.ts';
import { capabilitiesBoundTo } from './capabilities.ts';
import { constantValueOf, optionReaders } from './check-options.ts';
import { keyName, roomOf } from './keys.ts';
import { isAccumulated } from './merge-options.ts';
import { environmentLayer, type OptionPart } from './option-parts.ts';
import { originOf, displayedOption } from './origins.ts';
import { variablesOf } from './security-variables.ts';

/** The value of an option, and its origin. */
interface OptionValue {
  readonly value: unknown;
  readonly origin: string;
}

type Fields = ReadonlyMap<string, OptionValue>;
type Variables = Readonly<Record<string, string>>;

// The version that `@Service` records if it is given none.
const defaultVersion = 'latest';

/**
 * Lists all options that are read, with their values and origins, as far as these are known without constructing
 * anything.
 */
export function optionChoices(bindings: BindingService, sources: ChoiceSources): readonly Choice[] {
  const { options, boundBy, config } = sources;
  const mayRead = optionReaders(bindings, allBindings(bindings));
  const { security = 'tls' } = capabilitiesBoundTo<TransportCapabilities>(bindings, Transport) ?? {};
  const found = [...options.all].flatMap(([identifier, parts]) => {
    if (identifier === ServerOptions || identifier === ServiceOptions) return [];
    if (identifier === TransportTlsOptions ? security !== 'tls' : !mayRead(identifier)) return [];
    return choicesOf(
      keyName(identifier),
      parts.map((part) =>
        part.layer === environmentLayer ? environmentFields(identifier, config) : layerFields(bindings, part),
      ),
    );
  });
  const isOurs = (key: ServiceIdentifier): boolean => boundBy.get(key)?.at(-1) === environmentLayer;
  const logger: Variables = { level: 'TENON_LOG_LEVEL', format: 'TENON_LOG_FORMAT' };
  return [
    ...serviceChoices(bindings, sources),
    ...found,
    ...(isOurs(Transport) ? ownBackendAddress('transport', sources) : []),
    ...(isOurs(Registry) ? ownBackendAddress('registry', sources) : []),
    ...(isOurs(Broker) ? ownBackendAddress('broker', sources) : []),
    ...(isOurs(Logger) ? choicesOf('Logger', [variableFields(config.log, logger, config)]) : []),
  ];
}

/** The choices of a key's options: for each field the strongest value, or all values of options that accumulate. */
function choicesOf(name: string, parts: readonly (Fields | string)[]): readonly Choice[] {
  const merged = mergeFields(parts.filter((part): part is Fields => typeof part !== 'string'));
  const unknown = parts.filter((part): part is string => typeof part === 'string');
  return [
    ...[...merged].map(([field, given]) => option(`${name}.${field}`, field, given)),
    ...unknown.map((origin): Choice => ({ kind: 'option', name, value: 'made by a function', origin })),
  ];
}

function option(name: string, field: string, { value, origin }: OptionValue): Choice {
  return { kind: 'option', name, value: displayedOption(field, value), origin };
}

function mergeFields(parts: readonly Fields[]): Map<string, OptionValue> {
  const merged = new Map<string, OptionValue>();
  for (const [field, given] of parts.flatMap((part) => [...part])) {
    const before = merged.get(field);
    merged.set(field, before && isAccumulated(field) ? added(before, given) : given);
  }
  return merged;
}

function added(before: OptionValue, given: OptionValue): OptionValue {
  if (!Array.isArray(before.value) || !Array.isArray(given.value)) return given;
  return {
    value: [...(before.value as unknown[]), ...(given.value as unknown[])],
    origin: `${before.origin}, ${given.origin}`,
  };
}

/** The fields that a layer binds; or its name, if they are only known once it is resolved. */
function layerFields(bindings: BindingService, { key, layer }: OptionPart): Fields | string {
  const value = constantValueOf(bindings, key);
  if (value) return fieldsOf(value, layer);
  return bindings.get(key) === undefined ? new Map() : layer;
}

function fieldsOf(options: object, origin: string): Fields {
  const given = Object.entries<unknown>(options as Readonly<Record<string, unknown>>);
  return new Map(given.filter(([, value]) => value !== undefined).map(([field, value]) => [field, { value, origin }]));
}

function variableFields(options: object, names: Variables, config: Config): Fields {
  const given = [...fieldsOf(options, 'default')];
  return new Map(
    given.map(([field, { value }]) => {
      const name = names[field];
      return [field, { value, origin: name === undefined ? 'default' : originOf(name, config) }];
    }),
  );
}

function environmentFields(identifier: ServiceIdentifier, config: Config): Fields {
  if (identifier === ClientOptions) return variableFields(config.client, clientFields, config);
  if (identifier === MessageLimits) return variableFields(config.messages, messageFields, config);
  if (identifier === TransportTlsOptions) return tlsFields(config);
  const room = roomOf(identifier);
  return room === 'transport' || room === 'registry' || room === 'broker' ? backendFields(room, config) : new Map();
}

/** The address and the variables of the chosen backend. Backends of the application have no variables. */
function backendFields(room: AddressedRoom, config: Config): Fields {
  const { name, address, settings = {}, security = {} } = backendChoice(config, room);
  const row = backendRow(room, name);
  const names = Object.fromEntries((row?.variables ?? []).map((variable) => [variable.option, variable.name]));
  const given = new Map([...variableFields(settings, names, config), ...securityFields(room, security, config)]);
  if (address === undefined || (row && row.takesAddress !== true)) return given;
  const variable = `TENON_${room.toUpperCase()}`;
  const apart = `${variable}_ADDRESS`;
  const origin = config.stated.includes(apart) ? apart : variable;
  return new Map([['address', { value: address, origin }], ...given]);
}

function securityFields(room: AddressedRoom, security: object, { stated }: Config): Fields {
  return new Map(
    Object.entries<unknown>(security as Readonly<Record<string, unknown>>).map(
      ([field, value]) => [field, { value, origin: variablesOf(room, field, stated).join(', ') }] as const,
    ),
  );
}

function tlsFields({ tls, stated }: Config): Fields {
  if (!tls) return new Map();
  const files = ['TENON_TLS', 'TENON_TLS_CERT_FILE', 'TENON_TLS_KEY_FILE', 'TENON_TLS_CA_FILE'];
  const origin = (more: string): string => [...files, more].filter((name) => stated.includes(name)).join(', ');
  return new Map([
    ['client', { value: tls.client, origin: origin('TENON_TLS_SERVER_NAME') }],
    ['server', { value: tls.server, origin: origin('TENON_TLS_CLIENT_AUTH') }],
  ]);
}

/** The address of a backend of the application, which it gets by `init`, and not by options. */
function ownBackendAddress(room: AddressedRoom, { options, config }: ChoiceSources): readonly Choice[] {
  const hasOptions = [...options.all].some(
    ([identifier, parts]) => roomOf(identifier) === room && parts.some(({ layer }) => layer === environmentLayer),
  );
  const name = { transport: 'Transport', registry: 'Registry', broker: 'Broker' }[room];
  return hasOptions ? [] : choicesOf(name, [backendFields(room, config)]);
}

/** The options of services: those that all have in common, then those of each class that nothing stronger overrules. */
function serviceChoices(bindings: BindingService, { services, config, options }: ChoiceSources): readonly Choice[] {
  const classes = services.filter((service) => typeof service === 'function' && serviceOf(service) !== undefined);
  if (classes.length === 0) return [];
  const [servers, own] = [options.of(ServerOptions), options.of(ServiceOptions)];
  const isRead = (parts: readonly OptionPart[]): boolean => parts.some(({ layer }) => layer === environmentLayer);
  const environment = variableFields(
    {
      ...(isRead(servers) ? config.server : {}),
      health: config.health,
      reflection: config.reflection,
      ...(isRead(own) ? definedOf(config.service) : {}),
    },
    serviceFields,
    config,
  );
  const code = [...servers, ...own]
    .filter(({ layer }) => layer !== environmentLayer)
    .map((part) => layerFields(bindings, part));
  const variables: Variables = serviceFields;
  const stronger = new Set(code.flatMap((part) => (typeof part === 'string' ? [] : [...part.keys()])));
  const isWeaker = (field: string): boolean =>
    isAccumulated(field) || !(stronger.has(field) || config.stated.includes(variables[field] ?? ''));
  const perClass = classes.map((target) => {
    const { name, version, options: given } = serviceOf(target) ?? { name: '', version: '', options: {} };
    const fields = [
      ...fieldsOf({ name, ...given }, '@Service'),
      ...fieldsOf({ version }, version === defaultVersion ? 'default' : '@Service'),
    ];
    return { target, fields: fields.filter(([field]) => isWeaker(field)) };
  });
  const isOverruled = (field: string): boolean =>
    !isAccumulated(field) && perClass.every(({ fields }) => fields.some(([one]) => one === field));
  return [
    ...choicesOf('ServiceOptions', [environment, ...code]).filter(
      ({ name }) => !isOverruled(name.slice(name.indexOf('.') + 1)),
    ),
    ...perClass.flatMap(({ target, fields }) =>
      fields.map(([field, given]) => option(`${target.name}.${field}`, field, given)),
    ),
  ];
}

function definedOf(options: object): object {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}
