import { eventually as publicEventually } from '../waiting.ts';

/** Waits as {@link publicEventually} does, for suites whose tests have time: up to 15 s on a busy machine. */
export function eventually(what: string, condition: () => boolean | Promise<boolean>, limitMs = 15_000): Promise<void> {
  return publicEventually(what, condition, limitMs);
}
