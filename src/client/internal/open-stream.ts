import { Code, TenonError } from '../../errors/errors.ts';
import { AsyncQueue } from '../../internal/async-queue.ts';
import { finalizedIterator, iterable, iteratorOf, over } from '../../internal/iterators.ts';
import { clientStreams, type CallHandler, serverStreams } from '../../pipeline/pipeline.ts';
import type { ClientStream, Request } from '../client.ts';
import type { OutgoingContext } from './outgoing.ts';

/** Opens a call that is made message by message, through the same pipeline as the typed clients. */
export function openStream(request: Request, invoke: CallHandler, ctx: OutgoingContext): ClientStream {
  const requests = clientStreams(request.method.kind) ? new AsyncQueue<unknown>({ limit: 16 }) : undefined;
  let replies: AsyncIterator<unknown> | undefined;
  const end = (): void => {
    // Otherwise a sender would wait for ever for room in the queue.
    void requests?.return();
    ctx.release();
  };
  const start = (): AsyncIterator<unknown> => {
    if (replies) return replies;
    ctx.outlivesAttempts = true;
    const result = invoke(requests ?? request.body, ctx.follow());
    replies = serverStreams(request.method.kind)
      ? finalizedIterator(iteratorOf(result as AsyncIterable<unknown>), end)
      : iteratorOf([(result as Promise<unknown>).finally(end)]);
    return replies;
  };
  let ahead: Promise<IteratorResult<unknown>> | undefined;
  // The first request must go out without waiting for someone to read the replies.
  const begin = (): void => {
    if (replies) return;
    ahead = read();
    ahead.catch(() => {});
  };
  const read = async (): Promise<IteratorResult<unknown>> => {
    try {
      return await start().next();
    } catch (error) {
      end();
      throw error;
    }
  };
  const next = (): Promise<IteratorResult<unknown>> => {
    const first = ahead;
    ahead = undefined;
    return first ?? read();
  };
  const close = (): void => {
    requests?.end();
    ctx.abort();
    replies?.return?.().catch(() => {});
  };
  return {
    ctx,
    request,
    async send(message) {
      if (!requests || requests.isEnded) {
        throw new TenonError({
          code: Code.FailedPrecondition,
          reason: 'client.stream_ended',
          message: `no more requests can be sent to ${request.method.path}`,
        });
      }
      requests.push(message);
      begin();
      ctx.throwIfAborted();
      await requests.room();
    },
    async recv() {
      const result = await next();
      return result.done ? undefined : result.value;
    },
    closeSend() {
      requests?.end();
      begin();
    },
    close,
    ...iterable(() => ({ next, return: async () => (close(), over) })),
  };
}
