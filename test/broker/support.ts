import { setTimeout as sleep } from 'node:timers/promises';

import type { Broker } from '../../src/broker/broker.ts';
import { EventRecorder, publishText } from '../../src/testing/recorders.ts';

export { publishText, RecordingLogger, textOf as text } from '../../src/testing/recorders.ts';
export { eventually } from '../support/waiting.ts';
export { virtualRuntime } from '../../src/testing/virtual-time.ts';

/** Publishes until the broker accepts the event. Resolves with the errors before that. */
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

/** Makes a callback that records events and acknowledges them. */
export function collector(): EventRecorder {
  return new EventRecorder();
}
