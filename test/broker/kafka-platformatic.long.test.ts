import { readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { expect, test } from '@jest/globals';

import { modulesVariable, platformaticModules } from '../support/kafka.ts';
import { describeWithOtherNodes, nodeBinary } from '../support/node-versions.ts';
import { startNode } from '../support/process.ts';

const files = [
  'test/broker/kafka.test.ts',
  'test/conformance/broker-kafka.long.test.ts',
  'test/broker/kafka-groups',
  'test/broker/kafka-faults',
  'test/broker/kafka-outages',
];

interface Summary {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numPendingTests: number;
  readonly testResults: readonly { readonly name: string; readonly message: string }[];
}

describeWithOtherNodes('KafkaBroker over @platformatic/kafka', () => {
  test('passes all its suites on Node 24', async () => {
    const report = join(tmpdir(), `tenon-kafka-${process.pid}.json`);
    const jest = startNode('node_modules/jest/bin/jest.js', {
      command: await nodeBinary('24'),
      nodeArgs: ['--experimental-vm-modules', '--disable-warning=ExperimentalWarning'],
      // They wait most of the time.
      args: [...files, '--ci', `--maxWorkers=${files.length}`, '--json', `--outputFile=${report}`],
      env: { [modulesVariable]: await platformaticModules() },
    });
    const { code } = await jest.waitForExit(1_500_000);
    const { numPassedTests, numFailedTests, numPendingTests, testResults } = JSON.parse(
      await readFile(report, 'utf8'),
    ) as Summary;
    await rm(report);
    const said = testResults.map(({ message }) => message).filter((message) => message !== '');
    expect({ said, code, numFailedTests, numPendingTests }).toEqual({
      said: [],
      code: 0,
      numFailedTests: 0,
      numPendingTests: 0,
    });
    expect(numPassedTests).toBeGreaterThan(0);
  }, 1_600_000);
});
