/**
 * The functions of a test runner that the suites call, which Jest, Vitest, Mocha and node:test all have. They are
 * passed in, so that the suites depend on no runner.
 */
export interface TestApi {
  describe(name: string, body: () => void): void;
  it(name: string, body: () => Promise<void> | void, timeoutMs?: number): void;
}

/** A test case of one promise of a contract. `harness` makes the implementation under test. */
export interface Case<Harness> {
  /** The name, which is stable: proofs of the suites list cases by name. */
  readonly name: string;
  /** The feature that an implementation must have for the case to apply to it; `undefined` if it applies to all. */
  readonly requires?: string | undefined;
  run(harness: Harness): Promise<void> | void;
}
