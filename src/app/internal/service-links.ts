import { isIP } from 'node:net';

const hostEnd = '_SERVICE_HOST';
const port = /^\d+$/;
const protocol = /^(?:tcp|udp|sctp)$/;
const url = /^(?:tcp|udp|sctp):\/\/.+:\d+$/;

type IsLink = (value: string) => boolean;

/** The variables of one Service, by what follows its prefix, with the values that the kubelet gives them. */
const shapes: readonly (readonly [RegExp, IsLink])[] = [
  [/^SERVICE_HOST$/, (value) => isIP(value) !== 0],
  [/^SERVICE_PORT(?:_[A-Z0-9_]+)?$/, (value) => port.test(value)],
  [/^PORT(?:_\d+_(?:TCP|UDP|SCTP))?$/, (value) => url.test(value)],
  [/^PORT_\d+_(?:TCP|UDP|SCTP)_PROTO$/, (value) => protocol.test(value)],
  [/^PORT_\d+_(?:TCP|UDP|SCTP)_PORT$/, (value) => port.test(value)],
  [/^PORT_\d+_(?:TCP|UDP|SCTP)_ADDR$/, (value) => isIP(value) !== 0],
];

/**
 * Finds the variables that the kubelet sets in every pod for a Kubernetes Service named `tenon` or `tenon-…`, which
 * Kubernetes calls service links: `TENON_SERVICE_HOST`, `TENON_PORT=tcp://…`. A name counts only where the Service's
 * own address and port are set too, and the value has the documented form.
 */
export function serviceLinksIn(env: Readonly<Record<string, string | undefined>>): ReadonlySet<string> {
  const prefixes = Object.keys(env)
    .filter((name) => /^TENON(?:_[A-Z0-9_]+)?_SERVICE_HOST$/.test(name))
    .map((name) => name.slice(0, -hostEnd.length))
    .filter((prefix) => isLink('SERVICE_HOST', env[`${prefix}${hostEnd}`]))
    .filter((prefix) => isLink('SERVICE_PORT', env[`${prefix}_SERVICE_PORT`]));
  return new Set(
    Object.keys(env).filter((name) =>
      prefixes.some((prefix) => name.startsWith(`${prefix}_`) && isLink(name.slice(prefix.length + 1), env[name])),
    ),
  );
}

function isLink(rest: string, value: string | undefined): boolean {
  return value !== undefined && shapes.some(([shape, isGiven]) => shape.test(rest) && isGiven(value));
}
