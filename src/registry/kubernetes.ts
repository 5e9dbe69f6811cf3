import { hostname } from 'node:os';

import { inject, injectable, optional, type ServiceIdentifier } from 'inversify';

import { TenonError } from '../errors/errors.ts';
import type { RegistryDialect } from '../go-micro/go-micro.ts';
import type { WithDefaults } from '../internal/defaults.ts';
import { maskAddress } from '../internal/mask.ts';
import { token } from '../internal/token.ts';
import { type ChannelRequest, type Cluster, type ClusterChannel, openCluster } from '../kubernetes/cluster.ts';
import { endpointSlices, type ListedEndpoint, serviceNameLabel } from '../kubernetes/endpoint-slice.ts';
import { ApiError, type ApiResource } from '../kubernetes/kubernetes.ts';
import { labelsIn, type PublishedNode, serviceLabelOf } from '../kubernetes/leased-slice.ts';
import { PodLeases } from '../kubernetes/pod-leases.ts';
import { podsOf, podsWith } from '../kubernetes/pod-records.ts';
import { readSlices, SliceCopy, type SliceSource } from '../kubernetes/slice-copy.ts';
import { type SliceGrant, SliceLeases } from '../kubernetes/slice-leases.ts';
import type { OwnNode, SliceView } from '../kubernetes/slice-view.ts';
import { Logger } from '../logger/logger.ts';
import { endsWithin } from '../runtime/bounded.ts';
import { Clock, Random, Timers } from '../runtime/runtime.ts';
import { AddressList, parseHttpServer } from './kit/address-list.ts';
import { BrokenRecords } from './kit/broken-records.ts';
import type { DriverCall, DriverTools, Registration, RegistryDriver, Snapshot, WatchFeed } from './kit/driver.ts';
import { DrivenRegistry } from './kit/driven-registry.ts';
import { type DriverFailure, invalidAddress } from './kit/errors.ts';
import { HttpChannel } from './kit/http-channel.ts';
import { LeaseManager } from './kit/lease-manager.ts';
import { BrokenRecord, decodeNode, decodeNodes, encodeNode } from './kit/records.ts';
import { WatchFeeds } from './kit/watch-feeds.ts';
import {
  nodeState,
  type Registry,
  type RegistryCapabilities,
  type RegistryOptions,
  type ServiceRecord,
  stateKey,
} from './registry.ts';

/**
 * Options of a {@link KubernetesRegistry}. The API server and the credentials are those of the kubeconfig, of the pod's
 * service account, or of `~/.kube/config`, whichever is there first. An `address` (`https://host:port`), `tls` and
 * `credentials` are stronger.
 */
export interface KubernetesRegistryOptions extends RegistryOptions {
  /** Paths of kubeconfig files, separated as in `PATH`. YAML needs the package `yaml`, JSON does not. */
  readonly kubeconfig?: string | undefined;
  /** Context of the kubeconfig. @default its current-context */
  readonly context?: string | undefined;
  /** Host of the API server of the cluster that this process runs in. */
  readonly serviceHost?: string | undefined;
  /** Its port. @default 443 */
  readonly servicePort?: number | undefined;
  /**
   * Folder with the `token`, the `ca.crt` and the `namespace` of a pod's service account.
   * @default '/var/run/secrets/kubernetes.io/serviceaccount'
   */
  readonly serviceAccountFolder?: string | undefined;
  /** Namespace of the EndpointSlices. @default that of the credentials, or `default` */
  readonly namespace?: string | undefined;
  /** Labels that EndpointSlices must have; those that are written have its `key=value`s. @default none */
  readonly labelSelector?: string | undefined;
  /**
   * With `go-micro`, services of Go Micro's `kubernetes` registry are found in the annotations of their pods, and find
   * those that register here in the annotations of this pod. @default 'native'
   */
  readonly dialect?: RegistryDialect | undefined;
  /** Name of the pod of this process, for the dialect `go-micro`. @default the name of the host */
  readonly podName?: string | undefined;
  /** Name of the port of endpoints. @default a port of gRPC by its name or appProtocol, or the only one */
  readonly portName?: string | undefined;
  /** Shortest time in milliseconds after which a watch is made anew; a fifth at most is added. @default 240_000 */
  readonly watchMs?: number | undefined;
  /** Interval in milliseconds at which slices of processes that died are looked for; 0 for never. @default 60_000 */
  readonly sweepMs?: number | undefined;
  /** Size above which the record of a node is refused, and skipped by readers, in bytes. @default 204_800 */
  readonly maxRecordBytes?: number | undefined;
}
/** Container key of the {@link KubernetesRegistryOptions}. */
export const KubernetesRegistryOptions: ServiceIdentifier<KubernetesRegistryOptions> = token(
  'registry',
  'KubernetesRegistryOptions',
);

const defaults = {
  timeoutMs: 5_000,
  ttlMs: 30_000,
  serviceAccountFolder: '/var/run/secrets/kubernetes.io/serviceaccount',
  watchMs: 240_000,
  sweepMs: 60_000,
  maxRecordBytes: 204_800,
} as const;
type Settings = WithDefaults<KubernetesRegistryOptions, typeof defaults>;

/**
 * Finds services in the EndpointSlices of a Kubernetes cluster, by its API. Nodes that register have a slice of their
 * own with a lease. `docs/registry.md` has the layout and the rights that it needs.
 */
@injectable()
export class KubernetesRegistry extends DrivenRegistry<Settings> implements Registry {
  static readonly capabilities: RegistryCapabilities = {
    expires: true,
    shared: true,
    watches: true,
    renewalRestores: true,
    transferable: true,
    ttlGranularityMs: 1_000,
    tls: true,
    credentials: ['token'],
  };

  constructor(
    @inject(KubernetesRegistryOptions) @optional() options: KubernetesRegistryOptions = {},
    @inject(Clock) @optional() clock?: Clock,
    @inject(Random) @optional() random?: Random,
    @inject(Timers) @optional() timers?: Timers,
    @inject(Logger) @optional() logger?: Logger,
  ) {
    const spec = {
      name: 'kubernetes',
      capabilities: KubernetesRegistry.capabilities,
      optionsName: 'KubernetesRegistryOptions',
      defaults,
      rules: { servicePort: { min: 1, max: 65_535, isWhole: true } },
      check: ({ address }: Settings) => void (address !== undefined && parseHttpServer(address)),
      open: (settings: Settings, tools: DriverTools) => new KubernetesDriver(settings, tools),
    };
    super(spec, options, { clock, random, timers, logger });
  }
}

/** A cluster with what the driver has there. */
interface Connected extends Cluster {
  readonly slices: ApiResource;
  readonly leases: LeaseManager<SliceGrant>;
  readonly own: SliceLeases<Registration>;
  readonly backend: SliceLeases<Registration> | PodLeases<Registration>;
}

class KubernetesDriver implements RegistryDriver {
  readonly bounds: Settings;
  readonly #tools: DriverTools;
  readonly #broken: BrokenRecords;
  readonly #feeds = new WatchFeeds();
  readonly #copies = new Map<string | undefined, SliceCopy<ServiceRecord>>();
  readonly #closing = new AbortController();
  #connecting: Promise<Connected> | undefined;
  #connected: Connected | undefined;

  constructor(settings: Settings, tools: DriverTools) {
    this.bounds = settings;
    this.#tools = tools;
    this.#broken = new BrokenRecords(tools.logger);
  }

  get server(): string {
    return `Kubernetes at ${maskAddress(this.#connected?.server ?? this.bounds.address ?? 'its API server')}`;
  }

  async announce(registration: Registration, { signal }: DriverCall): Promise<void> {
    const { leases, own } = await this.#connect();
    await leases.announce(registration, signal);
    // It is for others, and tried again.
    own.sweepWhenDue(this.bounds.sweepMs, this.#closing.signal).catch(() => {});
  }

  async withdraw(service: string, id: string, { signal }: DriverCall): Promise<void> {
    const { leases, backend } = await this.#connect();
    await leases.withdraw(service, id, signal, (before) =>
      backend.revokeFormer({ service, id, address: before?.node.address }, signal),
    );
  }

  async release(service: string, id: string): Promise<void> {
    await this.#connected?.leases.release(service, id);
  }

  async read(service: string | undefined, { method, signal, timeoutMs }: DriverCall): Promise<Snapshot> {
    const connected = await this.#connect();
    const copy = method === 'watch' ? this.#copies.get(service) : undefined;
    if (copy) {
      const confirm = (until: AbortSignal): Promise<void> => copy.confirmLapsed(until);
      // A server that does not answer lets no lease end, and no watch.
      await endsWithin(confirm, { timers: this.#tools.timers, timeoutMs: timeoutMs / 2, signal }).catch(() => {});
      return snapshotOf(copy.view, service);
    }
    return snapshotOf(await readSlices(this.#source(service, connected), signal), service);
  }

  async watch(feed: WatchFeed, signal: AbortSignal): Promise<void> {
    const connected = await this.#connect();
    signal.throwIfAborted();
    const { service } = feed;
    let copy = this.#copies.get(service);
    if (!copy) this.#copies.set(service, (copy = this.#copy(service, connected)));
    const drop = (): void => {
      copy.stop();
      if (this.#copies.get(service) === copy) this.#copies.delete(service);
    };
    this.#feeds.join(feed, signal, drop);
    try {
      await copy.started;
    } catch (error) {
      drop();
      throw error;
    }
  }

  failure(error: unknown): DriverFailure {
    if (!(error instanceof ApiError)) {
      const remedy = 'Does it run there? TENON_REGISTRY_ADDRESS, or the kubeconfig, says where it is';
      return TenonError.is(error) ? { kind: 'unreachable', remedy } : { kind: 'refused' };
    }
    const { status, verb, resource } = error;
    if (status === 429 || status >= 500) return { kind: 'unreachable' };
    const pod = 'TENON_KUBERNETES_POD_NAME says which pod this process is in';
    if (status === 404 && resource.plural === 'pods') return { kind: 'refused', remedy: pod };
    const who = 'TENON_REGISTRY_TOKEN_FILE, or the kubeconfig, says who connects';
    if (status === 401) return { kind: 'denied', remedy: who };
    if (status !== 403) return { kind: 'refused' };
    const right = `the verb "${verb}" for ${resource.plural} of the API group "${resource.group}"`;
    const remedy = `Give it a Role in namespace "${resource.namespace}" with ${right}: docs/registry.md has one`;
    return { kind: 'denied', remedy };
  }

  close(): void {
    this.#closing.abort();
    for (const copy of this.#copies.values()) copy.stop();
    this.#connected?.leases.close();
    this.#connected?.close();
  }

  /** Files that cannot be used are read again by the next call. */
  #connect(): Promise<Connected> {
    this.#connecting ??= this.#open().catch((error: unknown) => {
      this.#connecting = undefined;
      throw error;
    });
    return this.#connecting;
  }

  async #open(): Promise<Connected> {
    const { random, logger } = this.#tools;
    const { signal: closing } = this.#closing;
    const { namespace: wanted, labelSelector = '', dialect, podName } = this.bounds;
    const cluster = await openCluster(this.bounds, { ...this.#tools, open: (request) => this.#channel(request) });
    if (closing.aborted) cluster.close();
    closing.throwIfAborted();
    const { client, clock } = cluster;
    const namespace = wanted ?? cluster.namespace ?? 'default';
    const slices = endpointSlices(namespace);
    const tools = { client, logger, owner: random.uuid(), nodeOf: published, runtime: this.#tools, closing };
    const own = new SliceLeases<Registration>({ ...tools, clock, slices, labels: labelsIn(labelSelector) });
    const pod = { pods: podsOf(namespace), pod: podName ?? hostname(), encode: encodeAll, slices: own };
    const backend = dialect === 'go-micro' ? new PodLeases<Registration>({ ...tools, ...pod }) : own;
    const leases = new LeaseManager<SliceGrant>(backend, { registry: 'kubernetes', lapses: true, ...this.#tools });
    this.#connected = { ...cluster, slices, leases, own, backend };
    return this.#connected;
  }

  #copy(service: string | undefined, connected: Connected): SliceCopy<ServiceRecord> {
    const { clock, random, timers, logger } = this.#tools;
    return new SliceCopy({
      ...this.#source(service, connected),
      logger,
      watchMs: this.bounds.watchMs,
      runtime: { clock, random, timers },
      resumed: () => this.#each(service, (feed) => feed.resumed()),
      lost: () => this.#each(service, (feed) => feed.fail('the API server has lost its data')),
      tell: ({ action, record, leaseMs }) =>
        this.#each(service, (feed) => feed.change({ action, service: record, leaseMs })),
    });
  }

  /** Calls `tell` with the watches of just this. */
  #each(service: string | undefined, tell: (feed: WatchFeed) => void): void {
    for (const feed of this.#feeds) if (feed.service === service) tell(feed);
  }

  #source(service: string | undefined, { client, clock, slices }: Connected): SliceSource<ServiceRecord> {
    const { labelSelector, portName, maxRecordBytes, dialect } = this.bounds;
    const wanted = service === undefined ? serviceNameLabel : `${serviceNameLabel}=${serviceLabelOf(service)}`;
    const pods = dialect === 'go-micro' ? podsWith(service) : undefined;
    return {
      client,
      resource: slices,
      by: { labelSelector: labelSelector === undefined ? wanted : `${labelSelector},${wanted}` },
      pods: pods && { resource: podsOf(slices.namespace), by: pods },
      view: {
        clock,
        portName,
        describe,
        skipBroken: (place, read) => this.#broken.read(place, read),
        broken: (why) => new BrokenRecord(why),
        decode: (text) => ownNode(decodeNode(text, maxRecordBytes)),
        decodePod: (text) => decodeNodes(text, maxRecordBytes).map(ownNode),
      },
    };
  }

  #channel({ server, security, isProtected }: ChannelRequest): ClusterChannel {
    const { isSecure, addresses, basePath } = parseHttpServer(server);
    if (!isSecure && isProtected) {
      const why = 'TLS would not be in force, and credentials would be sent in the clear: write https://';
      throw invalidAddress(`"${maskAddress(server)}" is without TLS. ${why}, or leave them out`);
    }
    const list = { ...this.#tools, registry: 'kubernetes', serverName: 'Kubernetes' };
    const tools = { ...this.#tools, security };
    return new HttpChannel({ registry: 'kubernetes', addresses: new AddressList(addresses, list), tools, basePath });
  }
}

function published({ service, node, ttlMs }: Registration): PublishedNode {
  const { name, version } = service;
  const state = nodeState(node);
  const conditions = { ready: state === 'serving', serving: state !== 'starting', terminating: state === 'draining' };
  const { id, address } = node;
  return { service: name, version, id, address, conditions, record: encodeNode(service, node), ttlMs };
}

/** Writes the record of all nodes of one service. */
function encodeAll(registrations: readonly Registration[]): string {
  const { service } = registrations.at(-1) as Registration;
  return JSON.stringify({ ...service, nodes: registrations.map(({ node }) => node) });
}

function ownNode(record: ServiceRecord): OwnNode<ServiceRecord> {
  const { id = '', address = '' } = record.nodes[0] ?? {};
  return { service: record.name, id, address, record };
}

/** Makes the record of an endpoint that others list. */
function describe(name: string, endpoint: ListedEndpoint, isDraining: boolean): ServiceRecord {
  const { id, address, version, zone, nodeName } = endpoint;
  const place = { ...(zone !== undefined && { zone }), ...(nodeName !== undefined && { nodeName }) };
  const metadata = { ...place, ...(isDraining && { [stateKey]: 'draining' }) };
  return { name, version, metadata: {}, endpoints: [], nodes: [{ id, address, metadata }] };
}

function snapshotOf(view: SliceView<ServiceRecord>, service: string | undefined): Snapshot {
  return { nodes: view.nodes(service).map(({ record, leaseMs }) => ({ service: record, leaseMs })) };
}
