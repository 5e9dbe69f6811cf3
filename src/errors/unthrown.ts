import { TenonError, type TenonErrorInit } from './errors.ts';

/**
 * Makes an error without a stack trace, for a call that is ended by an event or a timer. The stack would show nothing
 * but Node's internals, and making it costs more than ending the call: a server whose callers all leave at once makes
 * one error for each.
 */
export function unthrown(init: TenonErrorInit): TenonError {
  const { stackTraceLimit } = Error;
  // Not by assignment: where the built-in objects are frozen it would throw.
  Reflect.set(Error, 'stackTraceLimit', 0);
  const error = new TenonError(init);
  Reflect.set(Error, 'stackTraceLimit', stackTraceLimit);
  return error;
}
