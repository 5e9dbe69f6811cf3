/**
 * What the suites need of a test runner: the functions that Jest, Vitest, Mocha and node:test share. They are handed
 * in, so that the suites depend on no runner.
 */
export interface TestApi {
  describe(name: string, body: () => void): void;
  it(name: string, body: () => Promise<void> | void, timeoutMs?: number): void;
}

/** One promise of a contract and how it is tried. `harness` makes what is tested. */
export interface Case<Harness> {
  /** Stable: broken implementations are expected to fail by name. */
  readonly name: string;
  /** What the implementation must support for the promise to concern it, if not all do. */
  readonly requires?: string | undefined;
  run(harness: Harness): Promise<void> | void;
}
