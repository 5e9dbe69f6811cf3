import { Code, TenonError } from '../../errors/errors.ts';
import { iteratorOf } from '../../internal/iterators.ts';
import type { Socket } from '../../transport/transport.ts';
import type { OutgoingContext } from './outgoing.ts';
import type { CallEncoding } from './call-encoding.ts';

/**
 * Sends every request of a source as there is room. A source that throws cancels the call. Returns a function that ends
 * the source when the call is over, even while it waits for its next request.
 */
export function sendRequests(
  encoding: CallEncoding,
  input: AsyncIterable<unknown> | Iterable<unknown>,
  socket: Socket,
  ctx: OutgoingContext,
): () => void {
  const source = iteratorOf(input);
  let isOver = false;
  const stop = (): void => {
    if (isOver) return;
    isOver = true;
    // The call has ended already: a failure of the source changes nothing.
    void (async () => source.return?.())().catch(() => {});
  };
  // Needed if the replies are not read, so that the end of the call is not seen there.
  ctx.onAbort(stop);
  const send = async (): Promise<void> => {
    for (let result = await source.next(); !result.done && !isOver; result = await source.next()) {
      const wait = socket.send({
        body: encoding.marshaler.marshal(encoding.method.input, result.value),
        compressed: ctx.compress,
      });
      if (wait) await wait;
    }
    if (isOver) return;
    isOver = true;
    socket.end();
  };
  send().catch((error: unknown) => {
    if (isOver) return;
    const failure = TenonError.from(error);
    // After a request that cannot be encoded, the source of further requests is returned.
    stop();
    ctx.abort(
      failure.reason === 'codec.encode'
        ? failure
        : new TenonError({
            code: Code.Cancelled,
            reason: 'client.source_failed',
            message: `the source of requests failed: ${failure.message}`,
            cause: error,
          }),
    );
  });
  return stop;
}
