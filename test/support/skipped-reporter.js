import { readdirSync } from 'node:fs';

/** The files that `npm test` leaves out are named so. */
const longFile = /\.long\.test\.ts$/;

/** A reporter of Jest that says, when a run has ended, what it did not run and how to have that run. */
export default class SkippedReporter {
  onRunComplete(contexts, { testResults }) {
    const lines = [...skipped(testResults), ...leftOut(contexts)];
    // After the summary, which Jest itself prints last.
    process.once('exit', () => process.stderr.write(lines.map((line) => `${line}\n`).join('')));
  }
}

/** `test/support/require.ts` gives the reason in the name of the suite. */
function skipped(files) {
  const counts = new Map();
  for (const { testResults } of files) {
    for (const { status, ancestorTitles } of testResults) {
      if (status !== 'pending') continue;
      for (const title of ancestorTitles) {
        const reason = /\(skipped: (.*)\)$/.exec(title)?.[1];
        if (reason) counts.set(reason, (counts.get(reason) ?? 0) + 1);
      }
    }
  }
  return [...counts].map(([reason, count]) => `Skipped:     ${count} tests, as ${reason}`);
}

function leftOut(contexts) {
  const leavesOut = [...contexts].some(({ config }) =>
    config.testPathIgnorePatterns.some((pattern) => longFile.test(pattern)),
  );
  if (!leavesOut) return [];
  const files = readdirSync('test', { recursive: true, encoding: 'utf8' }).filter((name) => longFile.test(name));
  return [`Left out:    ${files.length} files of long tests; "npm run test:all" runs them too`];
}
