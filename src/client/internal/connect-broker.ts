import type { Broker } from '../../broker/broker.ts';
import { TenonError } from '../../errors/errors.ts';
import type { Runtime } from '../../runtime/runtime.ts';
import { retrying } from '../../runtime/retrying.ts';
import type { ClientPublishOptions } from '../client.ts';

const backoff = { initialMs: 20, maxMs: 1_000 } as const;
// That of most brokers, for one that does not say.
const defaultTimeoutMs = 5_000;

/**
 * Connects the broker of a client, unless it is connected. With `waitForReady` it is tried again until the time-out, if
 * it cannot be reached. Resolves with the time that is left for the publish.
 */
export async function connectBroker(
  broker: Broker,
  { timeoutMs, waitForReady = false }: Pick<ClientPublishOptions, 'timeoutMs' | 'waitForReady'>,
  signal: AbortSignal | undefined,
  runtime: Runtime,
): Promise<number | undefined> {
  const connect = (): Promise<void> => broker.connect({ signal, timeoutMs });
  if (!waitForReady) {
    await connect();
    return timeoutMs;
  }
  const { clock } = runtime;
  const endMs = clock.monotonicMs() + (timeoutMs ?? broker.options.timeoutMs ?? defaultTimeoutMs);
  // One that was connected and is away is waited for by `publish`.
  if (broker.status.state !== 'away') {
    await retrying(connect, {
      runtime,
      backoff,
      signal,
      onFailure: (error, delayMs) => {
        const isAway = TenonError.is(error) && error.reason === 'broker.unreachable';
        const leftMs = endMs - clock.monotonicMs();
        if (!isAway || leftMs <= 0) throw error;
        return Math.min(delayMs, leftMs);
      },
    });
  }
  return Math.max(1, endMs - clock.monotonicMs());
}
