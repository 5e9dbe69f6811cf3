import { expect } from '@jest/globals';

import type { AppOptions } from '../../src/app/options.ts';
import { System } from '../../src/app/system.ts';
import { formatProblems, verify } from '../../src/app/verify.ts';
import { type Class, Handler, Rpc, Service } from '../../src/decorators/decorators.ts';
import { TenonError } from '../../src/errors/errors.ts';

/** What `verify` says, as people read it. */
export async function problemsOf(
  services: Class | readonly (Class | undefined)[],
  options: AppOptions = {},
): Promise<string> {
  const list = (Array.isArray(services) ? services : [services]) as Class[];
  const report = await verify(list, { profile: 'test', env: {}, ...options });
  expect(report.ok).toBe(report.problems.length === 0);
  return report.ok ? '' : formatProblems(report.problems);
}

/** A service named `greeter` with these handlers. */
export function serviceOf(...handlers: readonly unknown[]): Class {
  @Service({ name: 'greeter', handlers: handlers as Class[] })
  class Greeter {}
  return Greeter;
}

/** A sound handler. */
@Handler('greeter.Greeter')
export class GreeterHandler {
  @Rpc() async hello(request: { name: string }): Promise<{ text: string }> {
    return { text: request.name };
  }
}
/** A sound service. */
export const greeter = serviceOf(GreeterHandler);

/** A problem, as `formatProblems` writes the only one. */
export function only(kind: string, where: string, message: string, fix: string): string {
  return `one problem\n1. ${kind} at ${where}\n   ${message}\n   fix: ${fix}`;
}

/**
 * The error that a start is refused with. A system that starts all the same is stopped, so that the test fails and
 * nothing keeps its process alive.
 */
export async function refusalOf(services: readonly Class[], options: AppOptions): Promise<TenonError> {
  let system: System;
  try {
    system = await System.start(services, options);
  } catch (error) {
    return TenonError.from(error);
  }
  await system.stop();
  throw new Error('the start was not refused');
}
