import type { Broker, BrokerCapabilities } from '../broker.ts';

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

/** What the class of `broker` says it can do; one that says nothing is taken to be able to do nothing. */
export function capabilitiesOf(broker: Broker): BrokerCapabilities {
  const { capabilities } = broker.constructor as { readonly capabilities?: Partial<BrokerCapabilities> };
  return { ...none, ...capabilities };
}

/** The brokers of this room that can do what others cannot: named in messages as the remedy. */
export const brokersWithGroups = 'memory, redis-streams';
