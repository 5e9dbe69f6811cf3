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
import { clientFields, type Config, messageFields, serviceFields } from '../config.ts';
import { type AddressedRoom, backendRow } from './backend-table.ts';
import { allBindings } from './bindings.ts';
import { capabilitiesBoundTo } from './capabilities.ts';
import { constantOf, readersIn, roomOf } from './check-options.ts';
import { keyName } from './keys.ts';
import { isAdding } from './merge.ts';
import { environmentLayer, type OptionPart } from './option-parts.ts';
import { originOf, shownOption } from './origins.ts';

/** A value that somebody gave an option, and who. */
interface Said {
  readonly value: unknown;
  readonly origin: string;
}

type Fields = ReadonlyMap<string, Said>;
type Variables = Readonly<Record<string, string>>;

// What `@Service` has where the class says nothing.
const defaultVersion = 'latest';

/**
 * Lists every option that something reads, with the value in force and its origin, as far as that is known without
 * constructing anything.
 */
export function optionChoices(bindings: BindingService, sources: ChoiceSources): readonly Choice[] {
  const { options, boundBy, config } = sources;
  const mayRead = readersIn(bindings, allBindings(bindings));
  const { security = 'tls' } = capabilitiesBoundTo<TransportCapabilities>(bindings, Transport) ?? {};
  const found = [...options.all].flatMap(([identifier, parts]) => {
    if (identifier === ServerOptions || identifier === ServiceOptions) return [];
    if (identifier === TransportTlsOptions ? security !== 'tls' : !mayRead(identifier)) return [];
    return choicesOf(
      keyName(identifier),
      parts.map((part) =>
        part.layer === environmentLayer ? saidByEnvironment(identifier, config) : saidBy(bindings, part),
      ),
    );
  });
  const isOurs = (key: ServiceIdentifier): boolean => boundBy.get(key)?.at(-1) === environmentLayer;
  const logger: Variables = { level: 'TENON_LOG_LEVEL', format: 'TENON_LOG_FORMAT' };
  return [
    ...serviceChoices(bindings, sources),
    ...found,
    ...(isOurs(Registry) ? ownAddress('registry', sources) : []),
    ...(isOurs(Broker) ? ownAddress('broker', sources) : []),
    ...(isOurs(Logger) ? choicesOf('Logger', [saidByVariables(config.log, logger, config)]) : []),
  ];
}

/** Of each option the strongest that was said; what adds up is everybody's. */
function choicesOf(name: string, parts: readonly (Fields | string)[]): readonly Choice[] {
  const merged = mergeFields(parts.filter((part): part is Fields => typeof part !== 'string'));
  const unknown = parts.filter((part): part is string => typeof part === 'string');
  return [
    ...[...merged].map(([field, said]) => option(`${name}.${field}`, field, said)),
    ...unknown.map((origin): Choice => ({ kind: 'option', name, value: 'made by a function', origin })),
  ];
}

function option(name: string, field: string, { value, origin }: Said): Choice {
  return { kind: 'option', name, value: shownOption(field, value), origin };
}

function mergeFields(parts: readonly Fields[]): Map<string, Said> {
  const merged = new Map<string, Said>();
  for (const [field, said] of parts.flatMap((part) => [...part])) {
    const before = merged.get(field);
    merged.set(field, before && isAdding(field) ? added(before, said) : said);
  }
  return merged;
}

function added(before: Said, said: Said): Said {
  if (!Array.isArray(before.value) || !Array.isArray(said.value)) return said;
  return {
    value: [...(before.value as unknown[]), ...(said.value as unknown[])],
    origin: `${before.origin}, ${said.origin}`,
  };
}

/** What a layer says; its name, if that is known only once it runs. */
function saidBy(bindings: BindingService, { key, layer }: OptionPart): Fields | string {
  const value = constantOf(bindings, key);
  if (value) return saidIn(value, layer);
  return bindings.get(key) === undefined ? new Map() : layer;
}

function saidIn(options: object, origin: string): Fields {
  const said = Object.entries<unknown>(options as Readonly<Record<string, unknown>>);
  return new Map(said.filter(([, value]) => value !== undefined).map(([field, value]) => [field, { value, origin }]));
}

function saidByVariables(options: object, names: Variables, config: Config): Fields {
  const said = [...saidIn(options, 'default')];
  return new Map(
    said.map(([field, { value }]) => {
      const name = names[field];
      return [field, { value, origin: name === undefined ? 'default' : originOf(name, config) }];
    }),
  );
}

function saidByEnvironment(identifier: ServiceIdentifier, config: Config): Fields {
  if (identifier === ClientOptions) return saidByVariables(config.client, clientFields, config);
  if (identifier === MessageLimits) return saidByVariables(config.messages, messageFields, config);
  if (identifier === TransportTlsOptions) return saidOfTls(config);
  const room = roomOf(identifier);
  return room === 'registry' || room === 'broker' ? saidToBackend(room, config) : new Map();
}

/** The address and the own variables of the backend that was chosen; one of the application's own has no variables. */
function saidToBackend(room: AddressedRoom, config: Config): Fields {
  const { name, address, settings = {} } = config[room];
  const row = backendRow(room, name);
  const names = Object.fromEntries((row?.variables ?? []).map((variable) => [variable.option, variable.name]));
  const said = saidByVariables(settings, names, config);
  if (address === undefined || (row && row.takesAddress !== true)) return said;
  const variable = room === 'registry' ? 'TENON_REGISTRY' : 'TENON_BROKER';
  const apart = `${variable}_ADDRESS`;
  const origin = config.stated.includes(apart) ? apart : variable;
  return new Map([['address', { value: address, origin }], ...said]);
}

function saidOfTls({ tls, stated }: Config): Fields {
  if (!tls) return new Map();
  const files = ['TENON_TLS', 'TENON_TLS_CERT_FILE', 'TENON_TLS_KEY_FILE', 'TENON_TLS_CA_FILE'];
  const origin = (more: string): string => [...files, more].filter((name) => stated.includes(name)).join(', ');
  return new Map([
    ['client', { value: tls.client, origin: origin('TENON_TLS_SERVER_NAME') }],
    ['server', { value: tls.server, origin: origin('TENON_TLS_CLIENT_AUTH') }],
  ]);
}

/** A backend of the application's own is told its address by `init`, and not by options. */
function ownAddress(room: AddressedRoom, { options, config }: ChoiceSources): readonly Choice[] {
  const hasOptions = [...options.all].some(
    ([identifier, parts]) => roomOf(identifier) === room && parts.some(({ layer }) => layer === environmentLayer),
  );
  return hasOptions ? [] : choicesOf(room === 'registry' ? 'Registry' : 'Broker', [saidToBackend(room, config)]);
}

/** Options of services: what all have in common, then what the class of one says where nothing stronger does. */
function serviceChoices(bindings: BindingService, { services, config, options }: ChoiceSources): readonly Choice[] {
  const classes = services.filter((service) => typeof service === 'function' && serviceOf(service) !== undefined);
  if (classes.length === 0) return [];
  const [servers, own] = [options.of(ServerOptions), options.of(ServiceOptions)];
  const isRead = (parts: readonly OptionPart[]): boolean => parts.some(({ layer }) => layer === environmentLayer);
  const environment = saidByVariables(
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
    .map((part) => saidBy(bindings, part));
  const variables: Variables = serviceFields;
  const stronger = new Set(code.flatMap((part) => (typeof part === 'string' ? [] : [...part.keys()])));
  const isWeaker = (field: string): boolean =>
    isAdding(field) || !(stronger.has(field) || config.stated.includes(variables[field] ?? ''));
  const perClass = classes.map((target) => {
    const { name, version, options: said } = serviceOf(target) ?? { name: '', version: '', options: {} };
    const fields = [
      ...saidIn({ name, ...said }, '@Service'),
      ...saidIn({ version }, version === defaultVersion ? 'default' : '@Service'),
    ];
    return { target, fields: fields.filter(([field]) => isWeaker(field)) };
  });
  const isOverruled = (field: string): boolean =>
    !isAdding(field) && perClass.every(({ fields }) => fields.some(([one]) => one === field));
  return [
    ...choicesOf('ServiceOptions', [environment, ...code]).filter(
      ({ name }) => !isOverruled(name.slice(name.indexOf('.') + 1)),
    ),
    ...perClass.flatMap(({ target, fields }) =>
      fields.map(([field, said]) => option(`${target.name}.${field}`, field, said)),
    ),
  ];
}

function definedOf(options: object): object {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}
