import type { BindingService } from '@inversifyjs/core';

import {
  type AnyClass,
  errorsCaughtBy,
  type Class,
  methodsWithEnhancers,
  rpcsOf,
  subscriptionsOf,
  type EnhancerKind,
  enhancersOf,
} from '../../decorators/decorators.ts';
import type { Problem } from '../describe.ts';
import { classBoundTo } from './capabilities.ts';
import { keyName } from './keys.ts';
import { enhancerKinds, enhancerKeysOf, type EnhancerKey } from './enhancers.ts';

/**
 * Lists problems of guards, interceptors, pipes and error filters: wrong classes and useless places. `checkWiring`
 * checks whether they can be constructed.
 */
export function checkEnhancers(classes: readonly Class[], bindings: BindingService): readonly Problem[] {
  return classes.flatMap((target) => [
    ...enhancerKeysOf(target).flatMap((used) => checkKey(used, bindings)),
    ...unusedOn(target),
  ]);
}

function checkKey({ kind, key, place }: EnhancerKey, bindings: BindingService): readonly Problem[] {
  const problems: Problem[] = [];
  const { method } = enhancerKinds[kind];
  const bound = (classBoundTo(bindings, key) ?? key) as unknown;
  if (typeof bound === 'function' && !mayHave(bound as AnyClass, method)) {
    problems.push({
      kind: 'wrong-enhancer',
      where: place,
      message: `${bound.name} has no method ${method}, so it can do nothing there`,
      fix: `write ${method}(…) in ${bound.name}, or use another class`,
    });
  }
  if (kind === 'errorFilter' && typeof key === 'function' && errorsCaughtBy(key).length === 0) {
    problems.push({
      kind: 'filter-without-errors',
      where: place,
      message: `${keyName(key)} does not say which errors it is for, and would never be asked`,
      fix: `decorate it: @CatchError(SomeError) class ${keyName(key)}, or @CatchError() for all`,
    });
  }
  return problems;
}

/** True if the class may have the method: on a prototype, or as a property, for which only its text can be searched. */
function mayHave(target: AnyClass, method: string): boolean {
  if (typeof (target.prototype as Record<string, unknown> | undefined)?.[method] === 'function') return true;
  for (
    let at: unknown = target;
    typeof at === 'function' && at !== Function.prototype;
    at = Object.getPrototypeOf(at)
  ) {
    if (new RegExp(`\\b${method}\\b`).test(Function.prototype.toString.call(at))) return true;
  }
  return false;
}

function unusedOn(target: AnyClass): readonly Problem[] {
  const called = new Set([...rpcsOf(target), ...subscriptionsOf(target)].map(({ property }) => property));
  return methodsWithEnhancers(target)
    .filter((property) => !called.has(property))
    .map((property) => {
      const kind = (Object.keys(enhancerKinds) as EnhancerKind[]).find(
        (one) => enhancersOf(one, target, property).length > 0,
      );
      const decorator = enhancerKinds[kind as EnhancerKind].decorator;
      return {
        kind: 'unused-enhancer',
        where: `${target.name}.${property}`,
        message: `${target.name}.${property} has ${decorator}, but is called by nobody: it has neither @Rpc nor @Subscribe`,
        fix: `decorate it with @Rpc() or @Subscribe(topic), or take ${decorator} away`,
      };
    });
}
