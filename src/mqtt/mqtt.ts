import type { ConnectionOptions } from 'node:tls';

/** The versions of the protocol, as a CONNECT packet numbers them. */
export const protocolNumbers = { '3.1.1': 4, '5': 5 } as const;
/** A version of MQTT. */
export type MqttVersion = keyof typeof protocolNumbers;

/** Properties of a PUBLISH packet, since MQTT 5. */
export interface PublishProperties {
  readonly contentType?: string;
  readonly userProperties?: Readonly<Record<string, string | string[]>>;
}

/** The parts of a received PUBLISH packet that are used. */
export interface PublishPacket {
  readonly topic: string;
  readonly payload: string | Buffer;
  readonly qos: number;
  /** True if the server has sent it before. */
  readonly dup: boolean;
  /** True for a message that was stored before the subscription. */
  readonly retain: boolean;
  readonly messageId?: number | undefined;
  readonly properties?: PublishProperties | undefined;
}

/** A message to publish. */
export interface MqttPublication {
  readonly topic: string;
  readonly payload: Buffer;
  /** Not written before MQTT 5. */
  readonly properties: PublishProperties | undefined;
}

/** TLS and credentials, as they are at the time of each connection. */
export interface MqttSecurity {
  readonly tls: ConnectionOptions | undefined;
  readonly username: string | undefined;
  readonly password: string | undefined;
}

/** The session of a connection. */
export interface MqttSessionOptions {
  readonly clientId: string;
  /** True to begin with no session. */
  readonly clean: boolean;
  /** Time in seconds for which the server keeps the session after the connection, since MQTT 5. */
  readonly expiryS?: number | undefined;
  /** Most events that are received and not acknowledged, since MQTT 5. */
  readonly receiveMaximum?: number | undefined;
  /** Called for each event, from the moment of the connection. */
  onPacket?(packet: PublishPacket): void;
  /** Called when an established connection has ended by itself. */
  onEnd(error: unknown): void;
}

/** Steps that a server can refuse. */
export type RefusedStep = 'connect' | 'publish' | 'subscribe' | 'connection';

/** A refusal of the server, with the reason code of MQTT: that of its version. */
export class MqttRefusal extends Error {
  readonly step: RefusedStep;
  readonly reasonCode: number;

  constructor(step: RefusedStep, reasonCode: number, message: string) {
    super(message);
    this.step = step;
    this.reasonCode = reasonCode;
  }
}

/** Reason code of a connection that was ended as another one has its client id (MQTT 5). */
export const sessionTakenOver = 0x8e;
