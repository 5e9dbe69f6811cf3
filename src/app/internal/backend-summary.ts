import type { Broker } from '../../broker/broker.ts';
import type { Marshaler } from '../../codec/codec.ts';
import { maskAddress } from '../../internal/mask.ts';
import type { Registry } from '../../registry/registry.ts';
import type { Selector } from '../../selector/selector.ts';
import type { BackendSummary } from '../../service/service.ts';
import type { Transport } from '../../transport/transport.ts';

/** Makes a function that summarizes the bound backends, for the container to call. */
export function backendSummaryOf(
  profile: string,
): (
  transport: Transport,
  marshaler: Marshaler,
  registry: Registry,
  selector: Selector,
  broker: Broker,
) => BackendSummary {
  return (transport, marshaler, registry, selector, broker) => ({
    transport: String(transport),
    codec: marshaler.contentType,
    registry: named(String(registry), registry.options.address),
    selector: String(selector),
    broker: named(String(broker), broker.address),
    profile,
  });
}

/** The name of a backend, with its address behind an `@` if that adds something, without scheme and secrets. */
function named(name: string, address: string | undefined): string {
  if (address === undefined || address === '' || address === name) return name;
  const [, shown = ''] = /^(?:[a-z][a-z0-9+.-]*:\/\/)?(?:\*\*\*@)?(.*)$/is.exec(maskAddress(address)) ?? [];
  return `${name}@${shown}`;
}
