import { systemRuntime } from '../../runtime/system.ts';

/** Resolves when `condition` holds; rejects, naming `what`, when it does not within `limitMs`. */
export async function eventually(
  what: string,
  condition: () => boolean | Promise<boolean>,
  limitMs = 2_000,
): Promise<void> {
  const { clock, timers } = systemRuntime;
  const until = clock.monotonicMs() + limitMs;
  while (!(await condition())) {
    if (clock.monotonicMs() > until) throw new Error(`${what}: not within ${limitMs} ms`);
    await timers.sleep(5);
  }
}

/** Something that others wait for. */
export interface Gate {
  readonly opened: Promise<void>;
  open(): void;
}

/** A gate that is shut. */
export function gate(): Gate {
  let open = (): void => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open };
}
