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

/** What `broker`, or else its class, says it can do; one that says nothing is taken to be able to do nothing. */
export function capabilitiesOf(broker: Broker): BrokerCapabilities {
  type Capable = { readonly capabilities?: Partial<BrokerCapabilities> };
  const capabilities = (broker as Capable).capabilities ?? (broker.constructor as Capable).capabilities;
  return { ...none, ...capabilities };
}

/** The brokers of this room that can do what others cannot: named in messages as the remedy. */
export const brokersWithGroups = 'memory, redis-streams';
