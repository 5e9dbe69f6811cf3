import { hostPort } from '../internal/host-port.ts';
import type { ApiObject, ApiResource } from './kubernetes.ts';

/** The conditions of an endpoint. What is null or absent has the default that the API gives it. */
export interface EndpointConditions {
  readonly ready?: boolean | null | undefined;
  readonly serving?: boolean | null | undefined;
  readonly terminating?: boolean | null | undefined;
}

/** An endpoint of a slice. */
export interface Endpoint {
  readonly addresses?: readonly string[] | null | undefined;
  readonly conditions?: EndpointConditions | null | undefined;
  readonly hostname?: string | null | undefined;
  readonly nodeName?: string | null | undefined;
  readonly zone?: string | null | undefined;
  readonly targetRef?: { readonly kind?: string; readonly name?: string } | null | undefined;
}

/** A port of all endpoints of a slice. */
export interface EndpointPort {
  readonly name?: string | null | undefined;
  readonly port?: number | null | undefined;
  readonly protocol?: string | null | undefined;
  readonly appProtocol?: string | null | undefined;
}

/** An EndpointSlice of `discovery.k8s.io/v1`. */
export interface EndpointSlice extends ApiObject {
  readonly addressType?: string | undefined;
  readonly endpoints?: readonly Endpoint[] | null | undefined;
  readonly ports?: readonly EndpointPort[] | null | undefined;
}

/** Label of a slice with the name of its Service. */
export const serviceNameLabel = 'kubernetes.io/service-name';
/** Label of a slice that names who writes it. */
export const managedByLabel = 'endpointslice.kubernetes.io/managed-by';
/** Label with the version of a service, which a slice has from its Service. */
export const versionLabel = 'app.kubernetes.io/version';

/** The EndpointSlices of a namespace. */
export function endpointSlices(namespace: string): ApiResource {
  return { group: 'discovery.k8s.io', version: 'v1', namespace, plural: 'endpointslices' };
}

/** The use of an endpoint: `draining` ones are used only where there is no `serving` one. */
export type EndpointUse = 'serving' | 'draining' | 'unused';

/** The use of endpoints by `ready`, `serving` and `terminating`. */
export const endpointUses: readonly (readonly [
  ready: boolean,
  serving: boolean,
  terminating: boolean,
  use: EndpointUse,
])[] = [
  [true, true, false, 'serving'],
  [true, true, true, 'serving'], // of a Service that publishes addresses that are not ready
  [true, false, false, 'serving'],
  [true, false, true, 'serving'],
  [false, true, true, 'draining'],
  [false, true, false, 'unused'],
  [false, false, true, 'unused'],
  [false, false, false, 'unused'],
];

/** Returns the use of an endpoint with these conditions. */
export function endpointUse(conditions: EndpointConditions | null | undefined): EndpointUse {
  const ready = conditions?.ready ?? true;
  const wanted = [ready, conditions?.serving ?? ready, conditions?.terminating ?? false];
  return endpointUses.find((row) => wanted.every((value, at) => row[at] === value))?.[3] ?? 'unused';
}

/** An endpoint that can be called. */
export interface ListedEndpoint {
  /** The name of its pod, its hostname, or its address: the same for as long as it lives. */
  readonly id: string;
  /** `host:port` */
  readonly address: string;
  readonly use: Exclude<EndpointUse, 'unused'>;
  readonly isIPv4: boolean;
  readonly zone?: string | undefined;
  readonly nodeName?: string | undefined;
  readonly version: string;
}

const speaksGrpc = /^(?:grpc|kubernetes\.io\/h2c)$/;

/** Returns the endpoints of a slice that may be used; `undefined` if it has no port for them. */
export function listedEndpoints(slice: EndpointSlice, portName?: string): readonly ListedEndpoint[] | undefined {
  const port = chosenPort(slice.ports ?? [], portName);
  if (port === undefined) return undefined;
  const version = slice.metadata?.labels?.[versionLabel] ?? '';
  return (slice.endpoints ?? []).flatMap((endpoint): ListedEndpoint[] => {
    const { addresses, conditions, hostname, nodeName, zone, targetRef } = endpoint;
    // The others are the same endpoint once more.
    const host = addresses?.[0];
    const use = endpointUse(conditions);
    if (host === undefined || use === 'unused') return [];
    const address = hostPort(host, port);
    return [
      {
        id: targetRef?.name ?? hostname ?? address,
        address,
        use,
        version,
        isIPv4: slice.addressType === 'IPv4',
        ...(zone && { zone }),
        ...(nodeName && { nodeName }),
      },
    ];
  });
}

/** The port with this name; without a name one of gRPC, or else the only one. */
function chosenPort(ports: readonly EndpointPort[], name: string | undefined): number | undefined {
  const tcp = ports.filter(({ port, protocol }) => typeof port === 'number' && (protocol ?? 'TCP') === 'TCP');
  if (name !== undefined) return tcp.find((one) => one.name === name)?.port ?? undefined;
  const grpc =
    tcp.find((one) => speaksGrpc.test(one.appProtocol ?? '')) ?? tcp.find((one) => /^grpc(?:-|$)/.test(one.name ?? ''));
  return (grpc ?? (tcp.length === 1 ? tcp[0] : undefined))?.port ?? undefined;
}

const preference = [
  ['serving', true],
  ['serving', false],
  ['draining', true],
  ['draining', false],
] as const;

/**
 * Joins the endpoints of the slices of one service, each once: while slices are rebalanced an endpoint is in two of
 * them, and a pod has an address of each family.
 */
export function joinedEndpoints(lists: Iterable<readonly ListedEndpoint[]>): ListedEndpoint[] {
  const all = [...lists].flat();
  const addresses = new Set<string>();
  const ids = new Set<string>();
  const ordered = preference.flatMap(([use, isIPv4]) => all.filter((one) => one.use === use && one.isIPv4 === isIPv4));
  return ordered.filter(({ id, address }) => {
    if (addresses.has(address) || ids.has(id)) return false;
    addresses.add(address);
    ids.add(id);
    return true;
  });
}
