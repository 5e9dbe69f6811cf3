import { systemRuntime } from '../../runtime/system.ts';

const pauseMs = 5;

/**
 * Resolves when `condition` holds; rejects, naming `what`, when it does not within `limitMs`. Looks are counted and not time: on a busy
 * machine the process that looks and the one that is looked at are slow together.
 */
export async function eventually(
  what: string,
  condition: () => boolean | Promise<boolean>,
  limitMs = 2_000,
): Promise<void> {
  for (let looks = 0; !(await condition()); looks += 1) {
    if (looks * pauseMs > limitMs) throw new Error(`${what}: not within ${limitMs} ms`);
    await systemRuntime.timers.sleep(pauseMs);
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
