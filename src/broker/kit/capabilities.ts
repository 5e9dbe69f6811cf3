import type { Broker, BrokerCapabilities, SubscribeOptions } from '../broker.ts';

const none: BrokerCapabilities = {
  persistent: false,
  ack: false,
  nack: false,
  delay: false,
  groups: false,
  attempts: false,
  deadLetter: false,
  order: false,
  replay: false,
  shared: false,
};

type Stated = Partial<BrokerCapabilities> | ((options: object) => Partial<BrokerCapabilities>);

/** The capabilities that `broker`, or else its class, declares; one that declares none is taken to have none. */
export function capabilitiesOf(broker: Broker): BrokerCapabilities {
  const own = (broker as { readonly capabilities?: Partial<BrokerCapabilities> | undefined }).capabilities;
  return own ? { ...none, ...own } : classCapabilities(broker, {});
}

/** The capabilities that the class of a broker declares: a static, or a static function where options decide. */
export function classCapabilities(broker: object, options: object): BrokerCapabilities {
  const { constructor } = broker as { readonly constructor: { readonly capabilities?: Stated | undefined } };
  const stated = constructor.capabilities;
  return { ...none, ...(typeof stated === 'function' ? stated.call(constructor, options) : stated) };
}

/**
 * Lists what a subscription asks for and neither a broker of these capabilities nor the framework can do, each as a
 * sentence with its remedy. Retry, dead letters, dedupe and order by key are never among it: `deliver` does what the
 * broker does not.
 */
export function missingCapabilities(
  capabilities: BrokerCapabilities,
  options: Pick<SubscribeOptions, 'queue'> & object,
): string[] {
  if (options.queue === undefined || capabilities.groups) return [];
  return [
    `the queue "${options.queue}" needs a broker with groups: on this one every subscriber would handle every event. Bind one that has them (see docs/broker.md), or leave out queue`,
  ];
}
