import { createHash } from 'node:crypto';
import { isIP, isIPv6 } from 'node:net';

import {
  type EndpointConditions,
  type EndpointSlice,
  managedByLabel,
  serviceNameLabel,
  versionLabel,
} from './endpoint-slice.ts';
import type { ServerClock } from './server-clock.ts';

/** The value of the label that says who manages a slice. */
export const manager = 'tenon';
/** Annotation with Go Micro's Service JSON of the one node. */
export const recordAnnotation = 'tenon/record';
/** Annotation with the lease: `renewTime` and `leaseDurationSeconds`, as a Lease of Kubernetes has them. */
export const leaseAnnotation = 'tenon/lease';
/** Label with the id of the registry that wrote the slice. */
export const ownerLabel = 'tenon/owner';

/** A node for a slice of its own. */
export interface PublishedNode {
  readonly service: string;
  readonly version: string;
  readonly id: string;
  /** `host:port` */
  readonly address: string;
  readonly conditions: EndpointConditions;
  /** The whole record of the node, as tenon's readers find it. */
  readonly record: string;
  readonly ttlMs: number;
}

/** Names a node that is registered here no longer. */
export interface FormerNode {
  readonly service: string;
  readonly id: string;
  /** The address that it had; absent if that is not known. */
  readonly address?: string | undefined;
}

/** The lease of a slice, in the time of the API server. */
export interface SliceLease {
  readonly renewedAtMs: number;
  readonly ttlMs: number;
}

// Writers and readers need not agree on the time of the server to the second.
const aheadMs = 5_000;
const isLabel = /^[a-z\d](?:[-\w.]{0,61}[a-z\d])?$/i;

/** Returns the label of a service: its name, or a digest of one that is no label. */
export function serviceLabelOf(name: string): string {
  return isLabel.test(name) ? name : `x-${digest(name)}`;
}

/** Returns the name of the slice of a node. */
export function sliceNameOf(service: string, id: string): string {
  const readable = service
    .toLowerCase()
    .replace(/[^a-z\d]+/g, '-')
    .slice(0, 40)
    .replace(/^-/, '');
  return `${readable}${readable.endsWith('-') || readable === '' ? '' : '-'}${digest(`${service}\n${id}`)}`;
}

/** Writes a lease as text. */
export function leaseText({ renewedAtMs, ttlMs }: SliceLease): string {
  return JSON.stringify({ renewTime: new Date(renewedAtMs).toISOString(), leaseDurationSeconds: ttlMs / 1_000 });
}

/**
 * Reads the lease of a slice; `undefined` if it has none that can be read. One that was renewed in the future, as by a
 * clock that was set back since, counts as renewed at the time of the clock.
 */
export function leaseOf({ metadata }: EndpointSlice, clock: ServerClock): SliceLease | undefined {
  try {
    const fields = JSON.parse(metadata?.annotations?.[leaseAnnotation] ?? '') as Readonly<
      Record<string, unknown>
    > | null;
    const { renewTime, leaseDurationSeconds } = fields ?? {};
    const renewedAtMs = Date.parse(String(renewTime));
    const isLease = typeof leaseDurationSeconds === 'number' && leaseDurationSeconds > 0 && !Number.isNaN(renewedAtMs);
    if (!isLease) return undefined;
    const now = clock.timeMs() ?? Number.POSITIVE_INFINITY;
    return { renewedAtMs: renewedAtMs > now + aheadMs ? now : renewedAtMs, ttlMs: leaseDurationSeconds * 1_000 };
  } catch {
    return undefined;
  }
}

/** A Service JSON as far as it is read here. */
export interface ServiceJson {
  readonly nodes: readonly { readonly id?: unknown; readonly address?: unknown }[];
}

/** Reads Service JSON as far as it can be read. */
export function serviceJson(text: string | undefined): ServiceJson {
  try {
    const service = JSON.parse(text ?? '') as { readonly nodes?: unknown } | null;
    const nodes = Array.isArray(service?.nodes) ? (service.nodes as unknown[]) : [];
    return { ...service, nodes: nodes.filter((node) => typeof node === 'object' && node !== null) };
  } catch {
    return { nodes: [] };
  }
}

/** True for a lease that was not renewed for twice its length, whether that was possible or not. */
export function isOverdue({ renewedAtMs, ttlMs }: SliceLease, clock: ServerClock): boolean {
  return renewedAtMs + 2 * ttlMs <= (clock.timeMs() ?? Number.NEGATIVE_INFINITY);
}

/**
 * The time in milliseconds until a lease counts as over: twice its length after it was renewed, or after the server was
 * back that had been away for as long as the lease lasts.
 */
export function leftOf({ renewedAtMs, ttlMs }: SliceLease, clock: ServerClock): number {
  const sinceMs = Math.max(renewedAtMs, clock.restoredAtMs(ttlMs));
  return sinceMs + 2 * ttlMs - (clock.timeMs() ?? Number.NEGATIVE_INFINITY);
}

/**
 * Makes the slice of a node. Its endpoint is for others that read slices, such as CoreDNS; an address that the API does
 * not take there, such as one of loopback, is in the record alone.
 */
export function leasedSlice(
  { service, version, id, address, conditions, record, ttlMs }: PublishedNode,
  { owner, renewedAtMs, labels }: { owner: string; renewedAtMs: number; labels: Readonly<Record<string, string>> },
): EndpointSlice {
  const [, host = '', port = ''] = /^\[?([^\]]*)\]?:(\d+)$/.exec(address) ?? [];
  const isListed = isReachable(host);
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      name: sliceNameOf(service, id),
      labels: {
        ...labels,
        [serviceNameLabel]: serviceLabelOf(service),
        [managedByLabel]: manager,
        [ownerLabel]: owner,
        ...(isLabel.test(version) && { [versionLabel]: version }),
      },
      annotations: {
        [recordAnnotation]: record,
        [leaseAnnotation]: leaseText({ renewedAtMs, ttlMs }),
      },
    },
    addressType: isIPv6(host) ? 'IPv6' : 'IPv4',
    endpoints: isListed
      ? [
          {
            addresses: [host],
            conditions,
          },
        ]
      : [],
    ports: isListed
      ? [
          {
            name: 'grpc',
            port: Number(port),
            protocol: 'TCP',
            appProtocol: 'grpc',
          },
        ]
      : [],
  };
}

/** The labels that a selector asks for by `key=value`. */
export function labelsIn(selector: string): Record<string, string> {
  const terms = [...selector.matchAll(/(?:^|,)\s*([\w./-]+)\s*==?\s*([\w.-]*)\s*(?=,|$)/g)];
  return Object.fromEntries(terms.map(([, key = '', value = '']) => [key, value]));
}

/** True for what an EndpointSlice may hold: no address of loopback, of the link, or of no host. */
function isReachable(host: string): boolean {
  if (isIP(host) === 4) return !/^(?:127|0|169\.254|22[4-9]|23\d)\./.test(host);
  return isIP(host) === 6 && !/^(?:::|fe[89ab]|ff)/i.test(host);
}

function digest(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 32);
}
