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

type Capable = { readonly capabilities?: Partial<BrokerCapabilities> | undefined };

/** What `broker`, or else its class, says it can do; one that says nothing is taken to be able to do nothing. */
export function capabilitiesOf(broker: Broker): BrokerCapabilities {
  const own = (broker as Capable).capabilities;
  return own ? { ...none, ...own } : classCapabilities(broker);
}

/** What the class of a broker says. */
export function classCapabilities(broker: object): BrokerCapabilities {
  return { ...none, ...(broker.constructor as Capable).capabilities };
}

// The brokers of this room that can do what others cannot: named in messages as the remedy.
const brokersWithGroups = 'memory, redis-streams';

/**
 * What a subscription asks for and neither a broker of these capabilities nor the framework can do, each as a sentence
 * with its remedy. Retry, dead letters, dedupe and order by key are never among it: `deliver` does what the broker does
 * not.
 */
export function missingCapabilities(
  capabilities: BrokerCapabilities,
  options: Pick<SubscribeOptions, 'queue'> & object,
): string[] {
  if (options.queue === undefined || capabilities.groups) return [];
  return [
    `the queue "${options.queue}" needs a broker with groups (${brokersWithGroups}): on this one every subscriber would handle every event. Bind one of those, or leave out queue`,
  ];
}
