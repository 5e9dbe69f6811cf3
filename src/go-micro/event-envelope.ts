import { setOwn } from '../internal/own.ts';

/** The header of an event that names its topic. */
export const topicHeader = 'Micro-Topic';
/** The header of an event that names the codec of its body. */
export const contentTypeHeader = 'Content-Type';
/** The exchange of events in RabbitMQ, which is not durable. */
export const rabbitMqExchange = 'micro';

/** Headers and body of an event. */
export interface EventContent {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
}

/** Writes the envelope: `{"Body":"<base64>","Header":{…}}`, with the header that names the topic. */
export function writeEnvelope(topic: string, headers: EventContent['headers'], body: Uint8Array): string {
  const base64 = Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString('base64');
  return JSON.stringify({ Header: { [topicHeader]: topic, ...headers }, Body: base64 });
}

/** Returns the headers and the body of an envelope; `undefined` for anything else. */
export function readEnvelope(payload: Buffer): EventContent | undefined {
  let parsed: { readonly Header?: unknown; readonly Body?: unknown };
  try {
    parsed = JSON.parse(payload.toString('utf8')) as typeof parsed;
  } catch {
    return undefined;
  }
  const { Header: header, Body: body } = parsed;
  // Go writes null for an empty map and for no bytes.
  const isEnvelope =
    (header !== undefined || body !== undefined) &&
    Object.keys(parsed).every((key) => key === 'Header' || key === 'Body') &&
    (body === undefined || body === null || typeof body === 'string') &&
    (header === undefined || (typeof header === 'object' && !Array.isArray(header)));
  if (!isEnvelope) return undefined;
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(header ?? {})) {
    if (typeof value !== 'string') return undefined;
    setOwn(headers, name, value);
  }
  return { headers: Object.freeze(headers), body: Buffer.from(body ?? '', 'base64') };
}
