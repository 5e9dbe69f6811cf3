import { describe, expect, it } from '@jest/globals';

import { systemTimers } from '../../src/runtime/system.ts';
import { CallAdmission } from '../../src/transport/call/call-admission.ts';
import { SendBudget } from '../../src/transport/call/send-budget.ts';

/** Admits calls by name while little is unsent; `turn` lets those begin that wait for it. */
function admitting() {
  const waiting: (() => void)[] = [];
  const begun: string[] = [];
  const budget = new SendBudget({ maxUnsentBytes: 2_000_000, maxUnsentBytesPerConnection: 1_000_000 });
  const admission = new CallAdmission(budget, { ...systemTimers, soon: (callback) => void waiting.push(callback) });
  const turn = (): void => {
    for (const callback of waiting.splice(0)) callback();
  };
  const call = (name: string) => ({ begin: () => void begun.push(name) });
  return { admission, begun, turn, call };
}

describe('calls that wait until less is unsent', () => {
  it('begin in their order when there is room, but for those that are over by then', () => {
    const { admission, begun, turn, call } = admitting();
    admission.change(1_000_000);
    const calls = ['a', 'b', 'c'].map(call);
    for (const one of calls) admission.admit(one);
    turn();
    expect(begun).toEqual([]);
    admission.forget(calls[1]!);
    admission.change(-1_000_000);
    turn();
    expect(begun).toEqual(['a', 'c']);
  });

  it('do not begin on a connection that is gone', () => {
    const { admission, begun, turn, call } = admitting();
    admission.change(1_000_000);
    admission.admit(call('a'));
    admission.close();
    admission.change(-1_000_000);
    turn();
    expect(begun).toEqual([]);
  });
});
