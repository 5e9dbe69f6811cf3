import { pause } from '../runtime/bounded.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { Nats, NatsMessage } from './nats.ts';

/** A question to all who hear some subjects. */
export interface Question {
  readonly runtime: Runtime;
  readonly subjects: readonly string[];
  readonly payload: string;
  /** Time without an answer after which all are taken to be there, in milliseconds. */
  readonly quietMs: number;
  /** Time without any answer after which there is none, in milliseconds. */
  readonly silentMs: number;
  /** Longest time for answers, in milliseconds. */
  readonly maxMs: number;
  readonly signal: AbortSignal;
  onAnswer(message: NatsMessage): void;
}

/**
 * Asks all who hear the subjects, and resolves when their answers are there: how many there will be is not known. The
 * time counts from when the server has the question. Rejects as {@link Nats.deliver} does.
 */
export async function askAll(client: Nats, question: Question): Promise<void> {
  const { subjects, payload, quietMs, silentMs, maxMs, signal } = question;
  const { clock, timers, random } = question.runtime;
  // For this question alone.
  const inbox = `_INBOX.${random.uuid()}`;
  let answers = 0;
  let heardAtMs = 0;
  const subscription = client.subscribe(inbox, (message) => {
    answers += 1;
    heardAtMs = clock.monotonicMs();
    question.onAnswer(message);
  });
  try {
    await client.deliver(
      subjects.map((subject) => ({ subject, reply: inbox, payload })),
      signal,
      [inbox],
    );
    const askedAtMs = clock.monotonicMs();
    for (let silentLooks = 0, before = 0; ; before = answers) {
      const now = clock.monotonicMs();
      await pause(timers, answers === 0 ? quietMs : Math.max(1, heardAtMs + quietMs - now), signal);
      signal.throwIfAborted();
      // What the server has sent until now comes before its answer.
      await client.deliver([], signal);
      if (answers > before) {
        if (clock.monotonicMs() - askedAtMs >= maxMs) return;
        continue;
      }
      // Looks are counted, and not time: who answers may be as busy as this process.
      silentLooks += 1;
      if (answers > 0 || silentLooks * quietMs >= silentMs) return;
    }
  } finally {
    subscription.unsubscribe();
  }
}
