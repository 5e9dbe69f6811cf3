import type { BrokerMessage } from '../../broker/broker.ts';
import { writeCloudEvent } from '../../broker/cloud-events.ts';
import type { Runtime } from '../../runtime/runtime.ts';
import type { PublishedCloudEvent, PublishMessage } from '../client.ts';

/** Makes a CloudEvent of an event that is published now. */
export function cloudEventOf(
  { mode, type, id, ...attributes }: PublishedCloudEvent,
  { topic, contentType }: PublishMessage,
  { headers, body }: BrokerMessage,
  { clock, random }: Pick<Runtime, 'clock' | 'random'>,
): BrokerMessage {
  const event = {
    ...attributes,
    id: id ?? random.uuid(),
    type: type ?? topic,
    time: new Date(clock.now()).toISOString(),
    datacontenttype: contentType,
    data: body,
  };
  return writeCloudEvent(event, mode, headers);
}
