import { capabilitiesIn, declaredCapabilities } from '../../internal/capabilities.ts';
import type { Broker, BrokerCapabilities, SubscribeOptions } from '../broker.ts';
import { hasWildcard } from './wildcards.ts';

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

/** Returns the capabilities of a broker, or those of its class. A broker that declares none has none. */
export function capabilitiesOf(broker: Broker): BrokerCapabilities {
  return { ...none, ...declaredCapabilities<Partial<BrokerCapabilities>>(broker) };
}

/** Returns the capabilities of a broker's class: a static, or a static function of the options. */
export function classCapabilities(broker: object, options: object): BrokerCapabilities {
  return { ...none, ...capabilitiesIn<Partial<BrokerCapabilities>>(broker.constructor, options) };
}

/**
 * Lists the requirements of a subscription that neither the broker nor `deliver` can meet, each as a sentence with its
 * remedy. Retries, dead letters, deduplication and order by key are never among them: `deliver` has them.
 */
export function missingCapabilities(
  capabilities: BrokerCapabilities,
  { queue, from }: Pick<SubscribeOptions, 'queue' | 'from'> & object,
  topic = '',
): string[] {
  const missing: string[] = [];
  if (queue !== undefined && !capabilities.groups)
    missing.push(
      `the queue "${queue}" needs a broker with groups: on this one every subscriber would handle every event. Bind one that has them (see docs/broker.md), or leave out queue`,
    );
  if (from === 'start' && !capabilities.replay)
    missing.push(`from: 'start' needs a broker with replay: this one has no events of the past. Leave out from`);
  if (capabilities.wildcards !== true && hasWildcard(topic))
    missing.push(
      'the wildcards of the topic need a broker with wildcards. Bind one that has them (see docs/broker.md), or subscribe to each topic',
    );
  return missing;
}
