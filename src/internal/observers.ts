import { quietly } from './quietly.ts';

/** The argument of an observer's method. */
export type EventOf<O, M extends keyof O> = NonNullable<O[M]> extends (event: infer E) => unknown ? E : never;

/**
 * Calls the method of an observer, if it has it. What the method throws, or rejects with, goes to `onError`: an
 * observer does not disturb what it observes.
 */
export function notify<O extends object, M extends keyof O>(
  observer: O,
  method: M,
  event: EventOf<O, M>,
  onError: (error: unknown) => void = () => {},
): void {
  const listener = observer[method];
  if (typeof listener === 'function') quietly((told) => listener.call(observer, told) as unknown, event, onError);
}
