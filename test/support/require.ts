import { describe, test } from '@jest/globals';

/**
 * What a run must not go without: `TENON_TEST_REQUIRE=all`, or names separated by commas (`redis,node`).
 * CI requires everything; on a laptop what is missing is shown as skipped.
 */
export function isRequired(name: string): boolean {
  const required = (process.env['TENON_TEST_REQUIRE'] ?? '').split(',').map((one) => one.trim());
  return required.includes('all') || required.includes(name);
}

/**
 * A `describe` for tests that need something the machine may not have. Without it they are skipped and the suite's
 * name says why; where it is required they fail instead.
 */
export function describeWith(name: string, needs: string, missing: string | undefined, define: () => void): void {
  if (missing === undefined) {
    describe(name, define);
  } else if (isRequired(needs)) {
    describe(name, () => {
      test(`has ${needs}`, () => {
        throw new Error(`${missing}, and TENON_TEST_REQUIRE=${process.env['TENON_TEST_REQUIRE']} demands it`);
      });
    });
  } else {
    describe.skip(`${name} (skipped: ${missing})`, define);
  }
}
