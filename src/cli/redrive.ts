import { Broker } from '../broker/broker.ts';
import { capabilitiesOf } from '../broker/kit/capabilities.ts';
import { redrive } from '../broker/redrive.ts';
import { type CliIo, print, UsageError } from './io.ts';
import { type SystemCommandOptions, withSystem } from './registry.ts';

/** Options of `tenon redrive`. */
export interface RedriveCommandOptions extends SystemCommandOptions {
  readonly queue?: string | undefined;
  readonly to?: string | undefined;
  readonly limit?: string | undefined;
  readonly reason?: string | undefined;
}

/** Publishes the dead letters of a topic again, over the broker that the environment or a module binds. */
export async function redriveTopic(io: CliIo, topic: string, options: RedriveCommandOptions): Promise<void> {
  const { queue, to, reason } = options;
  const limit = options.limit === undefined ? undefined : Number(options.limit);
  if (limit !== undefined && !(Number.isInteger(limit) && limit > 0))
    throw new UsageError(`--limit ${options.limit} is no whole number from 1 on`);
  const { moved, skipped } = await withSystem(io, options, async (system) => {
    const broker = system.get(Broker);
    if (!capabilitiesOf(broker).shared)
      throw new UsageError(
        `the ${String(broker)} broker is that of one process: TENON_BROKER names one that others share`,
      );
    await broker.connect({ signal: io.signal });
    return redrive(broker, topic, {
      queue,
      to,
      limit,
      signal: io.signal,
      filter: ({ headers }) => reason === undefined || headers['tenon-dead-letter-reason'] === reason,
    });
  });
  const left = skipped === 0 ? '' : `; ${events(skipped)} stayed in ${topic}`;
  print(io, `${events(moved)} published again${left}`);
}

function events(count: number): string {
  return count === 1 ? '1 event' : `${count} events`;
}
