// Usage: node scripts/test-summary.js <result of jest --json> [failed steps before it]
// Prints "N passed, N failed, N skipped" and exits with 1 unless something passed and nothing else happened.
// A file that could not be run, and a check before the tests that failed, each count as one failure.
import { readFileSync } from 'node:fs';

const [file, steps = '0'] = process.argv.slice(2);
let passed = 0;
let failed = 0;
let skipped = 0;
let testsFailed = false;
try {
  const result = JSON.parse(readFileSync(file ?? '', 'utf8'));
  passed = result.numPassedTests ?? 0;
  failed = (result.numFailedTests ?? 0) + (result.numRuntimeErrorTestSuites ?? 0);
  skipped = (result.numPendingTests ?? 0) + (result.numTodoTests ?? 0);
  testsFailed = result.success !== true;
} catch (error) {
  console.error(`no result of the tests: ${String(error)}`);
}
// The test command is a step too; what it found is counted by its tests, unless it found nothing.
const otherSteps = Number(steps) - (testsFailed && failed > 0 ? 1 : 0);
failed += Math.max(0, otherSteps);

console.log(`${passed} passed, ${failed} failed, ${skipped} skipped`);
process.exitCode = passed > 0 && failed === 0 && skipped === 0 ? 0 : 1;
