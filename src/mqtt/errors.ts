import { Code, textOf } from '../errors/errors.ts';
import { MqttRefusal, type MqttVersion, sessionTakenOver } from './mqtt.ts';

/** The meaning of an error: the server cannot be reached, or it refused what was asked. */
export interface Meaning {
  readonly kind: 'unreachable' | 'refused';
  /** Code of a refusal. */
  readonly code?: Code | undefined;
  /** The reason and the remedy; `undefined` where it simply does not answer. */
  readonly said?: string | undefined;
  /** True if trying again is of no use. */
  readonly isFinal?: boolean | undefined;
}

/** Reason codes of a CONNACK before MQTT 5, as MQTT 5 numbers them. */
const connectCodes: Readonly<Record<number, number>> = { 1: 0x84, 2: 0x85, 3: 0x88, 4: 0x86, 5: 0x87 };
// MQTT 5, section 2.4.
const codes: Readonly<Record<number, Code>> = {
  0x84: Code.FailedPrecondition,
  0x85: Code.InvalidArgument,
  0x86: Code.Unauthenticated,
  0x87: Code.PermissionDenied,
  0x8a: Code.PermissionDenied,
  0x8c: Code.Unauthenticated,
  [sessionTakenOver]: Code.FailedPrecondition,
  0x8f: Code.InvalidArgument,
  0x90: Code.InvalidArgument,
  0x95: Code.ResourceExhausted,
  0x97: Code.ResourceExhausted,
  0x98: Code.PermissionDenied,
  0x9b: Code.FailedPrecondition,
  0x9e: Code.FailedPrecondition,
  0xa2: Code.FailedPrecondition,
};
/** Not available, busy, shutting down, keep alive timeout, use another server, server moved, rates and times. */
const passing: ReadonlySet<number> = new Set([0x88, 0x89, 0x8b, 0x8d, 0x93, 0x9c, 0x9d, 0x9f, 0xa0]);
const versions = { '5': '3.1.1', '3.1.1': '5' } as const;

/** The meaning of an error of a connection. */
export function meaningOf(error: unknown, version: MqttVersion, hasTls: boolean): Meaning {
  if (error instanceof MqttRefusal) return ofRefusal(error, version);
  const { code, message = String(error) } = error as Partial<NodeJS.ErrnoException>;
  // An error of a socket.
  if (typeof code === 'string') return { kind: 'unreachable' };
  const where = 'TENON_BROKER_ADDRESS says where it is';
  if (message === 'connack timeout')
    return { kind: 'unreachable', said: `accepts connections, and says nothing. ${where}` };
  if (message === 'Keepalive timeout') return { kind: 'unreachable', said: 'has not answered for a while' };
  if (message.startsWith('has closed the connection before'))
    return { kind: 'unreachable', said: `${message}. ${hasTls ? where : 'Set TENON_BROKER_TLS if it wants TLS'}` };
  if (message.startsWith('has closed')) return { kind: 'unreachable', said: message };
  if (message === 'the broker was disconnected' || message === 'the connection is lost') return { kind: 'unreachable' };
  return { kind: 'unreachable', said: `does not speak MQTT (${textOf(error)}). ${where}` };
}

function ofRefusal({ step, reasonCode, message }: MqttRefusal, version: MqttVersion): Meaning {
  const code = (step === 'connect' && connectCodes[reasonCode]) || reasonCode;
  if (passing.has(code)) return { kind: 'unreachable', said: `refuses connections: ${message}` };
  // Servers say so of wrong passwords too.
  const isUnknown = step === 'connect' && code === 0x87;
  const isFinal = step !== 'connect' || code === 0x85;
  return {
    kind: 'refused',
    code: isUnknown ? Code.Unauthenticated : (codes[code] ?? Code.Internal),
    said: `${message}${remedyOf(code, version)}`,
    isFinal: isFinal && code !== 0x98,
  };
}

function remedyOf(code: number, version: MqttVersion): string {
  if (code === 0x84) return `: TENON_MQTT_VERSION=${versions[version]} chooses the other version`;
  if (code === 0x85) return ': TENON_MQTT_CLIENT_ID is the beginning of the client ids';
  if (code === sessionTakenOver) return ': give each process a client id of its own (TENON_MQTT_CLIENT_ID)';
  return '';
}
