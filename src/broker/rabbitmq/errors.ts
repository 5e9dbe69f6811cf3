import { Code, type TenonError, textOf } from '../../errors/errors.ts';
import { ClearHandshakeError, closedInHandshake } from '../../rabbitmq/link.ts';
import { ChannelClosedError, ForeignServerError, incompatibility, replyOf } from '../../rabbitmq/rabbitmq.ts';
import type { ErrorMeaning } from '../kit/driver.ts';
import { invalidAddress, mismatch } from '../kit/failures.ts';

// The answers of RabbitMQ that are refusals. After the others the connection is made again.
const codes: Readonly<Record<number, Code>> = {
  311: Code.ResourceExhausted,
  403: Code.PermissionDenied,
  404: Code.NotFound,
  405: Code.FailedPrecondition,
  406: Code.FailedPrecondition,
  506: Code.ResourceExhausted,
  530: Code.PermissionDenied,
};
const remedy =
  'delete it when it is empty, or set queueType (TENON_RABBITMQ_QUEUE_TYPE) and dialect to what it was made with';

/** The error for a queue or an exchange that exists with other properties; `undefined` for another error of amqplib. */
export function mismatchOf(error: unknown): TenonError | undefined {
  const incompatible = incompatibility(replyOf(error)?.text ?? '');
  if (!incompatible) return undefined;
  const { what, property, wanted, found } = incompatible;
  return mismatch('rabbitmq', `the ${what}`, property, wanted, found, remedy);
}

/** The error for a server that cannot be used as it is; `undefined` for others. */
export function startFailure(error: unknown): TenonError | undefined {
  if (!(error instanceof ForeignServerError)) return mismatchOf(error);
  const why = 'what listens there speaks no AMQP 0-9-1. TENON_BROKER_ADDRESS says where RabbitMQ is';
  return invalidAddress('rabbitmq', error.address, why);
}

/** Translates an error of amqplib. `explained`: what TLS has to say about it. */
export function meaningOf(error: unknown, explained: string | undefined): ErrorMeaning {
  const message = textOf(error);
  if (error instanceof ChannelClosedError)
    return { kind: 'unreachable', said: `has closed the channel of this event, which may have arrived: ${message}` };
  const { code = 0, text = '' } = replyOf(error) ?? {};
  const refused = (refusal: Code, said = message, isFinal = false): ErrorMeaning => ({
    kind: 'refused',
    code: refusal,
    said,
    isFinal,
  });
  if (text.includes('Login was refused')) return refused(Code.Unauthenticated, text, true);
  // A channel is opened again if an acknowledgement took too long, or its queue is gone.
  const isFinal = code !== 404 && !text.includes('delivery acknowledgement');
  if (codes[code] !== undefined) return refused(codes[code], mismatchOf(error)?.message ?? text, isFinal);
  if (message.startsWith('SASL mechanism')) return refused(Code.Unauthenticated);
  if (message.includes('got <ConnectionClose'))
    return refused(Code.PermissionDenied, 'there is no such virtual host for this user (TENON_RABBITMQ_VHOST)');
  if (message === 'message nacked') return refused(Code.ResourceExhausted, 'basic.nack: a queue did not take it');
  if (error instanceof RangeError) return refused(Code.ResourceExhausted, `the headers are too large: ${message}`);
  return { kind: 'unreachable', said: explained ?? unreachableReason(error, text) };
}

/** The words for a server that gives no connection; `undefined` where it simply does not answer. */
function unreachableReason(error: unknown, text: string): string | undefined {
  const closed = 'closed the connection in the handshake';
  if (error instanceof ClearHandshakeError) {
    const what = error.isSilent ? 'does not answer. Start it, or set TENON_BROKER_ADDRESS to where it is' : closed;
    return `${what}. If it wants TLS, say amqps:// (or TENON_BROKER_TLS)`;
  }
  if (textOf(error).startsWith(closedInHandshake)) return closed;
  return text === '' ? undefined : `ended the connection: ${text}`;
}
