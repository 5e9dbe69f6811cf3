import type { ConsumeMessage, Options } from 'amqplib';

type Headers = Readonly<Record<string, string>>;

/** Longest name, and longest text of a property, in bytes. */
export const maxShortBytes = 255;
/** Headers of a copy that a receiver has published: the number of the attempt that comes next, and the topic. */
const attemptHeader = 'x-tenon-attempt';
const topicHeader = 'x-tenon-topic';
const reserved = /^(?:CC|BCC|x-(?:tenon-(?:attempt|topic)|death|(?:delivery|acquired)-count|(?:first|last)-death-.*))$/;

/** True for a header by which RabbitMQ routes or that it writes, and for one that amqplib cannot read. */
export function isReservedHeader(name: string): boolean {
  return name === '__proto__' || reserved.test(name);
}

/** Returns the properties of a new message, which is stored on disk. */
export function propertiesOf(messageId: string, headers: Headers): Options.Publish {
  const { 'Content-Type': contentType = headers['content-type'] } = headers;
  const isTold = contentType !== undefined && Buffer.byteLength(contentType) <= maxShortBytes;
  return { messageId, headers, persistent: true, ...(isTold && { contentType }) };
}

/** Returns the headers of a message without the reserved ones, as text. */
export function headersOf({ properties }: ConsumeMessage): Headers {
  const { headers: all = {}, contentType } = properties;
  const headers: Record<string, string> = {};
  for (const name of Object.keys(all)) {
    const value: unknown = all[name];
    if (!reserved.test(name)) headers[name] = typeof value === 'string' ? value : shown(value);
  }
  if (typeof contentType === 'string' && !('Content-Type' in headers || 'content-type' in headers))
    headers['Content-Type'] = contentType;
  return Object.freeze(headers);
}

/** Returns the id of a message, if its publisher gave it one. */
export function idOf({ properties }: ConsumeMessage): string | undefined {
  const { messageId } = properties as { readonly messageId?: unknown };
  return typeof messageId === 'string' ? messageId : undefined;
}

/** Returns the number of the attempt for which a message is delivered. */
export function attemptOf({ properties, fields }: ConsumeMessage): number {
  const written = Number(properties.headers?.[attemptHeader] ?? 1);
  return (written >= 1 ? Math.floor(written) : 1) + (fields.redelivered ? 1 : 0);
}

/** Returns the topic that a message was published to. A copy has the name of a queue in its place. */
export function topicOf({ properties, fields }: ConsumeMessage): string {
  const { headers } = properties;
  return headers?.[topicHeader] === undefined ? fields.routingKey : String(headers[topicHeader]);
}

/** Returns the properties of a copy for an attempt. */
export function copiedProperties(message: ConsumeMessage, messageId: string, attempt: number): Options.Publish {
  // RabbitMQ would check the user again, and the message has outlived its expiration.
  const { userId: _user, expiration: _expiration, clusterId: _cluster, ...kept } = message.properties;
  const own = Object.entries(message.properties.headers ?? {}).filter(([name]) => !reserved.test(name));
  const headers = { ...Object.fromEntries(own), [attemptHeader]: attempt, [topicHeader]: topicOf(message) };
  return { ...kept, messageId, headers, persistent: true };
}

/** A value of a foreign program. */
function shown(value: unknown): string {
  if (Buffer.isBuffer(value)) return value.toString();
  return typeof value === 'object' ? JSON.stringify(value) : `${value as boolean | number}`;
}
