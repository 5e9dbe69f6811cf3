import { systemRuntime } from '../../runtime/system.ts';

/** Resolves when `condition` holds; rejects, naming `what`, when it does not within two seconds. */
export async function eventually(what: string, condition: () => boolean | Promise<boolean>): Promise<void> {
  for (let waitedMs = 0; waitedMs < 2_000; waitedMs += 5) {
    if (await condition()) return;
    await systemRuntime.timers.sleep(5);
  }
  throw new Error(`${what}: not within 2 s`);
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
