// Usage: node scripts/test-summary.js <failed steps> <result of jest --json>...
// Prints "N passed, N failed, N skipped" and exits with 1 unless something passed and nothing else happened.
// A file that could not be run, and a step that failed, each count as one failure.
import { readFileSync } from 'node:fs';

const [steps = '0', ...files] = process.argv.slice(2);
let passed = 0;
let failed = 0;
let skipped = 0;
let otherSteps = Number(steps);
for (const file of files) {
  try {
    const result = JSON.parse(readFileSync(file, 'utf8'));
    const failures = (result.numFailedTests ?? 0) + (result.numRuntimeErrorTestSuites ?? 0);
    passed += result.numPassedTests ?? 0;
    failed += failures;
    skipped += (result.numPendingTests ?? 0) + (result.numTodoTests ?? 0);
    // A test command is a step too; what it found is counted by its tests, unless it found nothing.
    if (result.success !== true && failures > 0) otherSteps -= 1;
  } catch (error) {
    console.error(`no result of the tests: ${String(error)}`);
  }
}
failed += Math.max(0, otherSteps);

console.log(`${passed} passed, ${failed} failed, ${skipped} skipped`);
process.exitCode = passed > 0 && failed === 0 && skipped === 0 ? 0 : 1;
