import { pause } from '../runtime/bounded.ts';
import type { Clock, Timers } from '../runtime/runtime.ts';
import type { Nats, NatsMessage } from './nats.ts';

/** A question to all who hear some subjects. */
export interface Question {
  readonly clock: Clock;
  readonly timers: Timers;
  readonly subjects: readonly string[];
  readonly payload: string;
  /** The subject to which answers are sent, for this question alone. */
  readonly inbox: string;
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
  const { clock, timers, subjects, payload, inbox, quietMs, silentMs, maxMs, signal } = question;
  let heardAtMs: number | undefined;
  const answers = client.subscribe(inbox, (message) => {
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
    const endsAtMs = (): number =>
      heardAtMs === undefined ? askedAtMs + silentMs : Math.min(askedAtMs + maxMs, heardAtMs + quietMs);
    for (let now = askedAtMs; now < endsAtMs(); now = clock.monotonicMs()) {
      // It looks again after each part, as an answer shortens the wait.
      await pause(timers, Math.min(quietMs, endsAtMs() - now), signal);
      signal.throwIfAborted();
      if (clock.monotonicMs() < endsAtMs()) continue;
      // What the server has sent until now comes before its answer. There is some if this process was too busy to read
      // it; then more may come.
      await client.deliver([], signal);
    }
  } finally {
    answers.unsubscribe();
  }
}
