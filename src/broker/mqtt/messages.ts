import { setOwn } from '../../internal/own.ts';
import type { MqttPublication, MqttVersion, PublishPacket } from '../../mqtt/mqtt.ts';
import type { EventHeaders } from '../broker.ts';
import type { OutgoingEvent } from '../kit/driver.ts';
import { HeaderReader, HeaderWriter, readPayload, writeFrame } from '../kit/frame.ts';
import type { NameRule, WireRules } from '../kit/name-encoding.ts';

/** Headers, body and id of an event. */
export interface MqttContent {
  /** Undefined for events of other programs. */
  readonly id: string | undefined;
  readonly headers: EventHeaders;
  readonly body: Uint8Array;
}

/** Names the id of an event, which MQTT has none for. */
const idHeader = 'tenon-event-id';
const contentType = 'Content-Type';

// Texts that servers must refuse, or may (MQTT 5, section 1.5.4).
const text = /[^\p{Cc}\p{Cs}\p{Noncharacter_Code_Point}]/u;
const maxTextBytes = 65_535;
const header: NameRule = { allowed: text, maxBytes: maxTextBytes };
const topic: NameRule = {
  allowed: /[^\p{Cc}\p{Cs}\p{Noncharacter_Code_Point}+#/]/u,
  separator: '/',
  // Those of servers themselves, which wildcards do not match.
  forbids: (name) => name.startsWith('$'),
  // Before it stand `$share/` and the group.
  maxBytes: 60_000,
};
const controlHeaders = new RegExp(`^${idHeader}$`, 'i');

/** The rules of messages in a version of MQTT. Headers have no rules where they are part of the payload. */
export function wireRules(version: MqttVersion, maxPacketBytes: number | undefined): WireRules {
  return {
    topic,
    controlHeaders,
    ...(version === '5' && { headerName: header, headerValue: header }),
    ...(maxPacketBytes !== undefined && { maxBodyBytes: maxPacketBytes }),
  };
}

/** The rule for the name of a group. */
export const groupRule: NameRule = { allowed: /[A-Za-z0-9._~-]/ };

/** Encodes events for PUBLISH packets: headers as user properties, or before the body where MQTT has none. */
export class MqttWriter {
  readonly #version: MqttVersion;
  readonly #headers = new HeaderWriter();
  readonly #ids = new HeaderWriter();

  constructor(version: MqttVersion) {
    this.#version = version;
  }

  write({ topic: name, headers, body }: OutgoingEvent, id: string): MqttPublication {
    if (this.#version === '3.1.1') {
      const table = Buffer.concat([this.#headers.write(headers), this.#ids.write({ [idHeader]: id })]);
      return { topic: name, payload: writeFrame(table, body), properties: undefined };
    }
    const type = headers[contentType];
    return {
      topic: name,
      payload: Buffer.from(body.buffer, body.byteOffset, body.byteLength),
      properties: {
        userProperties: { ...headers, [idHeader]: id },
        ...(type !== undefined && { contentType: type }),
      },
    };
  }
}

/** The size of a packet, and a little more. */
export function packetBytes({ topic: name, payload, properties = {} }: MqttPublication): number {
  const { userProperties = {}, contentType: type = '' } = properties;
  let bytes = 32 + Buffer.byteLength(name) + payload.length + Buffer.byteLength(type);
  for (const [key, value] of Object.entries(userProperties))
    bytes += 5 + Buffer.byteLength(key) + Buffer.byteLength(String(value));
  return bytes;
}

const reader = new HeaderReader();

/** Decodes a PUBLISH packet: one of this framework in any version, or of another program. */
export function readPacket({ payload, properties = {} }: PublishPacket): MqttContent {
  const bytes = typeof payload === 'string' ? Buffer.from(payload) : payload;
  const { userProperties, contentType: type } = properties;
  if (!userProperties) {
    const { headers, body } = readPayload(bytes, reader);
    if (type === undefined || headers[contentType] !== undefined) return withoutId(headers, body);
    return withoutId({ [contentType]: type, ...headers }, body);
  }
  const headers: Record<string, string> = {};
  if (type !== undefined && userProperties[contentType] === undefined) headers[contentType] = type;
  // A name may be there several times.
  for (const name of Object.keys(userProperties)) setOwn(headers, name, String(userProperties[name]));
  return withoutId(headers, bytes);
}

function withoutId(all: EventHeaders, body: Uint8Array): MqttContent {
  const id = all[idHeader];
  if (id === undefined) return { id, headers: all, body };
  const headers: Record<string, string> = {};
  for (const name of Object.keys(all)) if (name !== idHeader) setOwn(headers, name, all[name] as string);
  return { id, headers: Object.freeze(headers), body };
}
