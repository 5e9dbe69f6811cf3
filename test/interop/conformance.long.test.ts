import { describe, expect, it } from '@jest/globals';

import { TestProcess } from '../support/process.ts';
import { describeWithTools, toolPath } from '../support/tools.ts';
import { readme, root } from './support.ts';

/** What the README says of the runner's command, with `more` before the program's. */
function documented(mode: string, more: readonly string[]): TestProcess {
  const line = readme.split('\n').find((one) => one.startsWith(`connectconformance --mode ${mode} `));
  if (line === undefined) throw new Error(`samples/interop/README.md has no command for --mode ${mode}`);
  const [own = '', program = ''] = line.split(' -- ');
  const args = [...own.split(' ').slice(1), ...more, '--', ...program.split(' ')];
  return new TestProcess(toolPath('connectconformance'), args, { cwd: root, env: { TENON_PROFILE: undefined } });
}

describeWithTools("Connect's conformance runner", ['connectconformance'], () => {
  it('finds no failure in the server, with its reference client and with that of grpc-go', async () => {
    const runner = documented('server', ['--parallel', '4', '--max-servers', '2']);
    const { code } = await runner.waitForExit(150_000);
    expect([code, runner.stdout.match(/FAILED: .*/g)]).toEqual([0, null]);
    expect(Number(/^(\d+) passed, 0 failed/m.exec(runner.stdout)?.[1])).toBeGreaterThanOrEqual(570);
  }, 160_000);

  it('finds no failure in the client, with its reference server and with that of grpc-go', async () => {
    const runner = documented('client', ['--max-servers', '2']);
    const { code } = await runner.waitForExit(150_000);
    expect([code, runner.stdout.match(/FAILED: .*/g)]).toEqual([0, null]);
    expect(Number(/^(\d+) passed, 0 failed/m.exec(runner.stdout)?.[1])).toBeGreaterThanOrEqual(646);
  }, 160_000);
});

describe('the conformance runner', () => {
  it('has the version that the README names', () => {
    expect(readme).toContain('connectconformance@v1.0.7');
  });
});
