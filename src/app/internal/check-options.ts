import type { Binding, BindingService } from '@inversifyjs/core';
import type { ServiceIdentifier } from 'inversify';

import { Broker, type BrokerCapabilities } from '../../broker/broker.ts';
import { DefaultMarshaler } from '../../codec/codec.ts';
import { Registry, type RegistryCapabilities } from '../../registry/registry.ts';
import { Selector } from '../../selector/selector.ts';
import {
  type ConnectionSecurityCapabilities,
  type CredentialKind,
  hasCredentials,
  untakenSecurity,
} from '../../tls/connection.ts';
import { TransportTlsOptions } from '../../transport/tls.ts';
import { Transport, type TransportCapabilities } from '../../transport/transport.ts';
import { backendChoice, type Config } from '../config.ts';
import type { Problem } from '../describe.ts';
import type { AddressedRoom } from './backend-row.ts';
import { backendRow, backendRows } from './backend-table.ts';
import { allBindings, dependenciesOf } from './bindings.ts';
import { capabilitiesBoundTo, classBoundTo } from './capabilities.ts';
import { keyName, roomOf } from './keys.ts';
import { mergeOptions } from './merge-options.ts';
import { environmentLayer, hasSecurity, type OptionPart, type OptionParts, securityFields } from './option-parts.ts';
import { asksForTls, variablesOf } from './security-variables.ts';

/** The parts of a composition that the check of options reads. */
export interface OptionsCheckInput {
  readonly options: OptionParts;
  /** The names of the layers that bound each key, one for each binding, in order. */
  readonly boundBy: ReadonlyMap<ServiceIdentifier, readonly string[]>;
  readonly config: Config;
  /** True if the application has services. */
  readonly serves: boolean;
}

/** The problems and notes about options. */
export interface OptionsFindings {
  readonly problems: readonly Problem[];
  readonly notes: readonly Problem[];
}

const addressed: Readonly<Record<AddressedRoom, ServiceIdentifier>> = {
  transport: Transport,
  registry: Registry,
  broker: Broker,
};

const contracts: Readonly<Record<string, ServiceIdentifier>> = { ...addressed, selector: Selector };

/**
 * Lists options and variables that nothing reads, or that stronger ones replace: a problem if they are to protect
 * connections, a note otherwise.
 */
export function checkOptions(bindings: BindingService, input: OptionsCheckInput): OptionsFindings {
  const mayRead = optionReaders(bindings, allBindings(bindings));
  const findings = [
    ...unreadOptions(bindings, mayRead, input.options),
    ...tlsOfTransport(bindings, input),
    ...(['transport', 'registry', 'broker'] as const).flatMap((room) => [
      ...securityOfRoom(bindings, mayRead, input, room),
      ...replacedSecurity(bindings, mayRead, input, room),
    ]),
    ...variablesWithoutEffect(input),
  ];
  return {
    problems: findings.filter(({ isProblem }) => isProblem).map(({ problem }) => problem),
    notes: findings.filter(({ isProblem }) => !isProblem).map(({ problem }) => problem),
  };
}

interface Finding {
  readonly isProblem: boolean;
  readonly problem: Problem;
}

/** The merged options of a key, as far as layers bind constants to it. */
export function constantOptions<T extends object>(
  bindings: BindingService,
  options: OptionParts,
  identifier: ServiceIdentifier<T>,
): Partial<T> {
  return mergeOptions<Partial<T>>(
    ...options.of(identifier).map(({ key }) => constantValueOf(bindings, key) as Partial<T> | undefined),
  );
}

/** The constant that is bound to a key; `undefined` if it is bound to something else, or not at all. */
export function constantValueOf(bindings: BindingService, key: ServiceIdentifier): object | undefined {
  const [binding] = [...(bindings.get(key) ?? [])];
  return binding?.type === 'ConstantValue' ? (binding.value as object) : undefined;
}

/** Names what options have to protect connections: TLS, which an address may ask for too, and credentials. */
function protectionsIn(options: object | undefined): readonly ('tls' | 'credentials')[] {
  const { tls, serverTls, address } = (options ?? {}) as Readonly<Record<string, unknown>>;
  const isTls = tls !== undefined || serverTls !== undefined || asksForTls(address);
  return [...(isTls ? (['tls'] as const) : []), ...(hasCredentials(options ?? {}) ? (['credentials'] as const) : [])];
}

function hasServerTls(options: { readonly serverTls?: unknown } = {}): boolean {
  return options.serverTls !== undefined;
}

type MayRead = (identifier: ServiceIdentifier) => boolean;

/** Makes a test of whether a key of options is injected somewhere, or may be read by a dynamic value. */
export function optionReaders(bindings: BindingService, all: readonly Binding[]): MayRead {
  const read = new Set(all.flatMap(readsOf));
  return (identifier) => {
    const contract = contracts[roomOf(identifier)];
    return read.has(identifier) || (contract !== undefined && isOpaque(bindings, contract));
  };
}

function unreadOptions(bindings: BindingService, mayRead: MayRead, options: OptionParts): Finding[] {
  return [...options.all].flatMap(([identifier, parts]) => {
    const room = roomOf(identifier);
    const contract = contracts[room];
    const own = parts.filter(({ layer }) => layer !== environmentLayer);
    if (contract === undefined || own.length === 0 || identifier === TransportTlsOptions) return [];
    if (mayRead(identifier)) return [];
    const protections = new Set(own.flatMap(({ key }) => protectionsIn(constantValueOf(bindings, key))));
    const isProblem = protections.size > 0 && !isLocal(bindings, room, contract);
    const asked = [...protections].map((one) => (one === 'tls' ? 'ask for TLS' : 'have credentials')).join(' and ');
    const instead = protections.has('tls') ? 'it would speak in the clear' : 'it would connect without them';
    const [name, bound] = [keyName(identifier), nameOf(bindings, contract)];
    const remedy =
      room === 'transport'
        ? 'bind TransportTlsOptions, which every transport with TLS takes, or the transport that these options are of'
        : `bind the ${room} that they are of, or give ${bound} its own`;
    return [
      {
        isProblem,
        problem: {
          kind: isProblem ? 'security-not-in-force' : 'unused-options',
          where: name,
          message: isProblem
            ? `${name} ${asked} (${layersOf(own)}), and ${bound}, which is bound to ${keyName(contract)}, does not read them: ${instead}`
            : `${name} are bound (${layersOf(own)}), and nothing reads them: ${bound} is bound to ${keyName(contract)}`,
          fix: isProblem ? remedy : 'leave them out, or bind what reads them',
        },
      },
    ];
  });
}

function tlsOfTransport(bindings: BindingService, { options, serves }: OptionsCheckInput): Finding[] {
  const { client, server } = constantOptions(bindings, options, TransportTlsOptions);
  if (client === undefined && !server) return [];
  const capabilities = capabilitiesBoundTo<TransportCapabilities>(bindings, Transport);
  if (!capabilities) return [];
  const where = options.of(TransportTlsOptions).length > 1 ? 'TransportTlsOptions' : 'TENON_TLS_…';
  const bound = nameOf(bindings, Transport);
  if (capabilities.security === 'local') {
    return [
      note(
        'unused-options',
        where,
        `TLS is configured, and ${bound} has no use for it: its calls do not leave this machine`,
        'nothing has to be done, if that is what you want; TENON_TRANSPORT chooses another transport',
      ),
    ];
  }
  if (capabilities.security !== 'tls') {
    return [
      problem(
        'security-not-in-force',
        where,
        `TLS is configured, and ${bound}, which is bound to Transport, does not take it: it would speak in the clear`,
        "choose grpc, grpc-js or tcp; or let it inject TransportTlsOptions, and say so in its capabilities: security: 'tls'",
      ),
    ];
  }
  const hasOwn = [...options.all].some(
    ([identifier, parts]) =>
      roomOf(identifier) === 'transport' && parts.some(({ key }) => hasServerTls(constantValueOf(bindings, key))),
  );
  if (!serves || server !== undefined || hasOwn) return [];
  return [
    problem(
      'security-not-in-force',
      where,
      'clients call over TLS, and servers of this process would answer in the clear',
      'give TransportTlsOptions a server with certificate and key; or server: false, if that is what you want',
    ),
  ];
}

/** Lists TLS and credentials of a registry or a broker that variables set and that would not be in force. */
function securityOfRoom(
  bindings: BindingService,
  mayRead: MayRead,
  { config, options, boundBy }: OptionsCheckInput,
  room: AddressedRoom,
): Finding[] {
  const { security = {} } = backendChoice(config, room);
  const said = Object.keys(security);
  if (said.length === 0) return [];
  const contract = addressed[room];
  const bound = nameOf(bindings, contract);
  const overruling = boundBy.get(contract)?.at(-1);
  const isTold =
    overruling === environmentLayer ||
    [...options.all].some(
      ([identifier, parts]) =>
        roomOf(identifier) === room && mayRead(identifier) && parts.some(({ layer }) => layer === environmentLayer),
    );
  const capabilities = capabilitiesBoundTo<ConnectionSecurityCapabilities>(bindings, contract);
  // The capabilities of what a function makes are known only at the start, where its kit refuses.
  if (isTold && !capabilities && !classBoundTo(bindings, contract)) return [];
  const untaken = isTold ? untakenSecurity(security, capabilities ?? {}) : said;
  return untaken.map((option) => {
    const names = variablesOf(room, option, config.stated).join(', ');
    const takers = `capabilities that take it: ${option === 'tls' ? 'tls' : `credentials: ['${kindOf(option)}']`}`;
    return problem(
      'security-not-in-force',
      names,
      isTold
        ? `${names} is set, and ${bound}, which is bound to ${keyName(contract)}, takes no ${option}`
        : `${names} is set, and has no effect: ${overruling} binds ${bound} to ${keyName(contract)}`,
      isTold
        ? `unset it, or bind a ${room} with ${takers}`
        : `unset it, and give ${bound} its own where it is bound; or let TENON_${room.toUpperCase()} choose the ${room}`,
    );
  });
}

/** Lists TLS and credentials of a registry or a broker that variables set and stronger options replace as a whole. */
function replacedSecurity(
  bindings: BindingService,
  mayRead: MayRead,
  { config, options }: OptionsCheckInput,
  room: AddressedRoom,
): Finding[] {
  const { security = {} } = backendChoice(config, room);
  return [...options.all].flatMap(([identifier, parts]) => {
    const ours = parts.findIndex(({ layer }) => layer === environmentLayer);
    if (roomOf(identifier) !== room || ours < 0 || !mayRead(identifier)) return [];
    const stronger = parts.slice(ours + 1);
    return securityFields.flatMap((field) => {
      const replacing = stronger.findLast(({ key }) => hasSecurity(constantValueOf(bindings, key), field));
      if (security[field] === undefined || !replacing) return [];
      const names = variablesOf(room, field, config.stated).join(', ');
      const key = keyName(identifier);
      return [
        problem(
          'security-not-in-force',
          names,
          `${names} is set, and has no effect: ${replacing.layer} gives ${key} ${field}, which replace it as a whole`,
          `unset it, and say all of ${field} in ${key}; or leave ${field} out there`,
        ),
      ];
    });
  });
}

function kindOf(option: string): CredentialKind {
  return option.includes('token') ? 'token' : 'password';
}

function variablesWithoutEffect({ config, boundBy }: OptionsCheckInput): Finding[] {
  const isSaid = (name: string): boolean => config.stated.includes(name);
  const chosen: readonly (readonly [string, ServiceIdentifier])[] = [
    ['TENON_TRANSPORT', Transport],
    ['TENON_CODEC', DefaultMarshaler],
    ['TENON_REGISTRY', Registry],
    ['TENON_SELECTOR', Selector],
    ['TENON_BROKER', Broker],
  ];
  /** The layer of code that binds the contract and so overrules variables; `undefined` if there is none. */
  const overruling = (contract: ServiceIdentifier): string | undefined => {
    const layer = boundBy.get(contract)?.at(-1);
    return layer === environmentLayer ? undefined : layer;
  };
  const overruled = chosen.flatMap(([name, contract]) => {
    const layer = overruling(contract);
    if (!isSaid(name) || layer === undefined) return [];
    return [
      note(
        'unused-variable',
        name,
        `${name} is set, and has no effect: ${layer} binds ${keyName(contract)}`,
        `unset it, or name your own class in backends, so that ${name} can choose it`,
      ),
    ];
  });
  // Skipped where code binds the contract: it may read the variable from the configuration.
  const useless = unreadSettings(config)
    .filter(([name, , contract]) => isSaid(name) && overruling(contract) === undefined)
    .map(([name, backend]) =>
      note('unused-variable', name, `${name} is set, and ${backend}, which is chosen, does not read it`, 'unset it'),
    );
  return [...overruled, ...useless, ...settingsOfNoTls(config)];
}

/** Lists the variables of TLS that are set although another says that there is none. */
function settingsOfNoTls(config: Config): Finding[] {
  const { stated, tls } = config;
  const ofCalls = stated.filter((name) => name.startsWith('TENON_TLS'));
  const sides: readonly (readonly [names: readonly string[], tls: object | undefined])[] = [
    [ofCalls, tls],
    [variablesOf('transport', 'tls', stated), config.transportServer.security?.tls],
    [variablesOf('registry', 'tls', stated), config.registry.security?.tls],
    [variablesOf('broker', 'tls', stated), config.broker.security?.tls],
  ];
  return sides.flatMap(([names, inForce]) => {
    const off = names.find((name) => name.endsWith('_TLS'));
    if (inForce !== undefined || off === undefined) return [];
    return names
      .filter((name) => name !== off)
      .map((name) =>
        note('unused-variable', name, `${name} is set, and has no effect: ${off} is false`, `unset it, or ${off}`),
      );
  });
}

/** The variables of addresses and backends that no chosen backend reads, each with the backend that was chosen. */
function unreadSettings({
  transportServer,
  registry,
  broker,
}: Config): (readonly [variable: string, chosen: string, contract: ServiceIdentifier])[] {
  const chosen = [
    ['transport', transportServer.name, 'TENON_TRANSPORT_ADDRESS', Transport],
    ['registry', registry.name, 'TENON_REGISTRY_ADDRESS', Registry],
    ['broker', broker.name, 'TENON_BROKER_ADDRESS', Broker],
  ] as const;
  const read = chosen.flatMap(([room, name]) => backendRow(room, name)?.variables ?? []).map(({ name }) => name);
  return chosen.flatMap(([room, name, address, contract]) => {
    const row = backendRow(room, name);
    const others = backendRows[room].flatMap(({ variables = [] }) => variables).map((variable) => variable.name);
    // Others set those without the prefix, for every process.
    const own = [...new Set(others)].filter((variable) => variable.startsWith('TENON_'));
    const unread = own.filter((variable) => !read.includes(variable));
    return [...(row && row.takesAddress !== true ? [address] : []), ...unread].map(
      (one) => [one, name, contract] as const,
    );
  });
}

function problem(kind: string, where: string, message: string, fix: string): Finding {
  return { isProblem: true, problem: { kind, where, message, fix } };
}

function note(kind: string, where: string, message: string, fix: string): Finding {
  return { isProblem: false, problem: { kind, where, message, fix } };
}

function layersOf(parts: readonly OptionPart[]): string {
  return parts.map(({ layer }) => layer).join(', ');
}

function readsOf(binding: Binding): readonly (ServiceIdentifier | undefined)[] {
  const needs = dependenciesOf(binding);
  return 'dependencies' in needs ? needs.dependencies.map(({ identifier }) => identifier) : [];
}

/** True if a contract is bound to a dynamic value, which may read any options. */
function isOpaque(bindings: BindingService, contract: ServiceIdentifier): boolean {
  return [...(bindings.get(contract) ?? [])].some(({ type }) => type === 'DynamicValue');
}

/** True if the backend does not communicate with other machines or processes, so that it needs no TLS. */
function isLocal(bindings: BindingService, room: string, contract: ServiceIdentifier): boolean {
  const capabilities = capabilitiesBoundTo<Partial<TransportCapabilities & RegistryCapabilities & BrokerCapabilities>>(
    bindings,
    contract,
  );
  return room === 'transport' ? capabilities?.security === 'local' : capabilities?.shared === false;
}

function nameOf(bindings: BindingService, contract: ServiceIdentifier): string {
  return classBoundTo(bindings, contract)?.name ?? `what is bound to ${keyName(contract)}`;
}
