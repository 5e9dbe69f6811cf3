import { TenonError, type TenonErrorInit } from './errors.ts';

/**
 * An error that nobody throws: made where a call ends by itself, from an event or a timer. It has no stack trace, which
 * would tell of Node's insides alone and costs most of what such an end does: a server whose callers all leave at once
 * makes one for each.
 */
export function unthrown(init: TenonErrorInit): TenonError {
  const { stackTraceLimit } = Error;
  // Not by assignment: where the built-in objects are frozen it would throw.
  Reflect.set(Error, 'stackTraceLimit', 0);
  const error = new TenonError(init);
  Reflect.set(Error, 'stackTraceLimit', stackTraceLimit);
  return error;
}
