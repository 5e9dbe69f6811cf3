import { Code, TenonError } from '../../errors/errors.ts';
import { isPromise } from '../../internal/is-promise.ts';
import { noPromise } from '../../internal/quietly.ts';
import type { ServiceRecord } from '../../registry/registry.ts';
import type { NodeFilter } from '../selector.ts';

/** Applies filters one after another. INVALID_ARGUMENT (`selector.invalid_filter`) for one that returns no records. */
export function keptBy(filters: readonly NodeFilter[], records: readonly ServiceRecord[]): readonly ServiceRecord[] {
  let kept = records;
  for (const [index, filter] of filters.entries()) {
    const result: unknown = filter(kept);
    if (!Array.isArray(result)) throw invalidFilter(index, noPromise(result));
    kept = result as readonly ServiceRecord[];
  }
  return kept;
}

function invalidFilter(index: number, result: unknown): TenonError {
  const what = isPromise(result) ? 'a promise' : result === undefined ? 'nothing' : `a value of type ${typeof result}`;
  return new TenonError({
    code: Code.InvalidArgument,
    reason: 'selector.invalid_filter',
    message: `filter ${index + 1} of the call returned ${what}: a filter returns the records that it keeps, at once`,
  });
}
