import type { Binding, BindingService } from '@inversifyjs/core';
import type { ServiceIdentifier } from 'inversify';

import { Broker, type BrokerCapabilities } from '../../broker/broker.ts';
import { DefaultMarshaler } from '../../codec/codec.ts';
import { Registry, type RegistryCapabilities } from '../../registry/registry.ts';
import { Selector } from '../../selector/selector.ts';
import { TransportTlsOptions } from '../../transport/tls.ts';
import { Transport, type TransportCapabilities } from '../../transport/transport.ts';
import type { Config } from '../config.ts';
import type { Problem } from '../describe.ts';
import { backendRow, backendRows } from './backend-table.ts';
import { allBindings, needsOf } from './bindings.ts';
import { capabilitiesBoundTo, classBoundTo } from './capabilities.ts';
import { keyName } from './keys.ts';
import { mergeOptions } from './merge.ts';
import { environmentLayer, type OptionPart, type OptionParts } from './option-parts.ts';

/** What the options are checked against. */
export interface OptionsSurroundings {
  readonly options: OptionParts;
  /** The layers that bound each key, a name for each time, the last one last. */
  readonly boundBy: ReadonlyMap<ServiceIdentifier, readonly string[]>;
  readonly config: Config;
  /** Whether there is anything to serve. */
  readonly serves: boolean;
}

/** What is wrong, and what is only without effect. */
export interface OptionsFindings {
  readonly problems: readonly Problem[];
  readonly notes: readonly Problem[];
}

const contracts: Readonly<Record<string, ServiceIdentifier>> = {
  transport: Transport,
  registry: Registry,
  selector: Selector,
  broker: Broker,
};

/** Lists options that nobody reads: a problem where they were to keep others out, a note elsewhere. */
export function checkOptions(bindings: BindingService, surroundings: OptionsSurroundings): OptionsFindings {
  const all = allBindings(bindings);
  const findings = [
    ...unreadOptions(bindings, all, surroundings.options),
    ...tlsOfTransport(bindings, surroundings),
    ...variablesWithoutEffect(surroundings),
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

/** What the layers say of the key, as far as it is said by constants. */
export function constantOptions<T extends object>(
  bindings: BindingService,
  options: OptionParts,
  identifier: ServiceIdentifier<T>,
): Partial<T> {
  return mergeOptions<Partial<T>>(
    ...options.of(identifier).map(({ key }) => constantOf(bindings, key) as Partial<T> | undefined),
  );
}

/** What one layer says, if it is a constant. */
export function constantOf(bindings: BindingService, key: ServiceIdentifier): object | undefined {
  const [binding] = [...(bindings.get(key) ?? [])];
  return binding?.type === 'ConstantValue' ? (binding.value as object) : undefined;
}

/** Whether options are there to keep others out. */
export function isSecuring(options: object | undefined): boolean {
  const { tls, serverTls, address } = (options ?? {}) as Readonly<Record<string, unknown>>;
  return tls !== undefined || serverTls !== undefined || (typeof address === 'string' && /^rediss:/i.test(address));
}

function speaksTls(options: { readonly serverTls?: unknown } = {}): boolean {
  return options.serverTls !== undefined;
}

/** Says of a key of options whether something that is bound reads it, or may read whatever it likes. */
export function readersIn(
  bindings: BindingService,
  all: readonly Binding[],
): (identifier: ServiceIdentifier) => boolean {
  const read = new Set(all.flatMap(readsOf));
  return (identifier) => {
    const contract = contracts[roomOf(identifier)];
    return read.has(identifier) || (contract !== undefined && isOpaque(bindings, contract));
  };
}

function unreadOptions(bindings: BindingService, all: readonly Binding[], options: OptionParts): Finding[] {
  const mayRead = readersIn(bindings, all);
  return [...options.all].flatMap(([identifier, parts]) => {
    const room = roomOf(identifier);
    const contract = contracts[room];
    const own = parts.filter(({ layer }) => layer !== environmentLayer);
    if (contract === undefined || own.length === 0 || identifier === TransportTlsOptions) return [];
    if (mayRead(identifier)) return [];
    const isProblem =
      own.some(({ key }) => isSecuring(constantOf(bindings, key))) && !isLocal(bindings, room, contract);
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
            ? `${name} ask for TLS (${layersOf(own)}), and ${bound}, which is bound to ${keyName(contract)}, does not read them: it would speak in the clear`
            : `${name} are bound (${layersOf(own)}), and nothing reads them: ${bound} is bound to ${keyName(contract)}`,
          fix: isProblem ? remedy : 'leave them out, or bind what reads them',
        },
      },
    ];
  });
}

function tlsOfTransport(bindings: BindingService, { options, serves }: OptionsSurroundings): Finding[] {
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
      roomOf(identifier) === 'transport' && parts.some(({ key }) => speaksTls(constantOf(bindings, key))),
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

function variablesWithoutEffect({ config, boundBy }: OptionsSurroundings): Finding[] {
  const isSaid = (name: string): boolean => config.stated.includes(name);
  const chosen: readonly (readonly [string, ServiceIdentifier])[] = [
    ['TENON_TRANSPORT', Transport],
    ['TENON_CODEC', DefaultMarshaler],
    ['TENON_REGISTRY', Registry],
    ['TENON_SELECTOR', Selector],
    ['TENON_BROKER', Broker],
  ];
  /** Who has bound the contract over the variables, if anybody has. */
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
  // Code that binds a backend of its own may read the variable from the configuration.
  const useless = unreadSettings(config)
    .filter(([name, , contract]) => isSaid(name) && overruling(contract) === undefined)
    .map(([name, backend]) =>
      note('unused-variable', name, `${name} is set, and ${backend}, which is chosen, does not read it`, 'unset it'),
    );
  return [...overruled, ...useless];
}

/**
 * The variables of addresses and of backends that nothing reads under a choice of backends, each with the backend that
 * was chosen.
 */
function unreadSettings({
  registry,
  broker,
}: Config): (readonly [variable: string, chosen: string, contract: ServiceIdentifier])[] {
  const chosen = [
    ['registry', registry.name, 'TENON_REGISTRY_ADDRESS', Registry],
    ['broker', broker.name, 'TENON_BROKER_ADDRESS', Broker],
  ] as const;
  const read = chosen.flatMap(([room, name]) => backendRow(room, name)?.variables ?? []).map(({ name }) => name);
  return chosen.flatMap(([room, name, address, contract]) => {
    const row = backendRow(room, name);
    const others = backendRows[room].flatMap(({ variables = [] }) => variables).map((variable) => variable.name);
    const unread = [...new Set(others)].filter((variable) => !read.includes(variable));
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
  const needs = needsOf(binding);
  return 'dependencies' in needs ? needs.dependencies.map(({ identifier }) => identifier) : [];
}

/** Whether what is bound may read whatever it likes. */
function isOpaque(bindings: BindingService, contract: ServiceIdentifier): boolean {
  return [...(bindings.get(contract) ?? [])].some(({ type }) => type === 'DynamicValue');
}

/** Whether nothing of it leaves this machine, so that there is nobody to keep out. */
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

/** `transport` of `tenon.transport.GrpcTransportOptions`. */
export function roomOf(identifier: ServiceIdentifier): string {
  return typeof identifier === 'symbol' ? ((identifier.description ?? '').split('.')[1] ?? '') : '';
}
