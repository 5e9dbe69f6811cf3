import { setTimeout as sleep } from 'node:timers/promises';

import type { Broker } from '../../src/broker/broker.ts';
import { EventRecorder, publishText } from '../../src/testing/recorders.ts';
import { eventually } from '../../src/testing/waiting.ts';

export { publishText, RecordingLogger, textOf as text } from '../../src/testing/recorders.ts';
export { virtualRuntime } from '../../src/testing/virtual-time.ts';

/** Resolves when `condition` holds; rejects when it does not for a long time. */
export function until(what: string, condition: () => boolean, limitMs = 15_000): Promise<void> {
  return eventually(what, condition, limitMs);
}

/** Publishes until the broker takes it; what it says in the meantime. */
export async function publishAtLast(broker: Broker, topic: string, body: string): Promise<unknown[]> {
  const errors: unknown[] = [];
  for (;;) {
    try {
      await publishText(broker, topic, body);
      return errors;
    } catch (error) {
      errors.push(error);
      if (errors.length > 1_000) throw error;
      await sleep(10);
    }
  }
}

/** A callback that keeps what comes, and acknowledges it. */
export function collector(): EventRecorder {
  return new EventRecorder();
}
