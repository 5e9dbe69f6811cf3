import { parseArgs } from 'node:util';

import { type AppOptions, TransportTlsOptions } from 'tenon';

import { type Case, cases } from './cases.ts';
import { connect } from './peer.ts';
import { program, SettingsError, tenonEnv } from './settings.ts';

await program(async () => runCase(process.argv.slice(2)));

/** Runs one case against one server, by the arguments that every official interop client takes. */
async function runCase(args: readonly string[]): Promise<void> {
  const { name, test, address, iterations, options } = told(args);
  const peer = await connect(address, iterations, options);
  const late = setTimeout(() => fail(name, new Error('it did not end within 60 s')), 60_000);
  try {
    await test(peer);
    console.error(`${name}: passed`);
  } catch (error) {
    fail(name, error);
  } finally {
    clearTimeout(late);
    await peer.close();
  }
}

function fail(name: string, error: unknown): never {
  console.error(`${name}: failed`, error);
  process.exit(1);
}

interface Told {
  readonly name: string;
  readonly test: Case;
  readonly address: string;
  readonly iterations: number;
  readonly options: AppOptions;
}

function told(args: readonly string[]): Told {
  const { values } = parseArgs({
    args: [...args],
    options: {
      server_host: { type: 'string', default: '127.0.0.1' },
      server_port: { type: 'string' },
      test_case: { type: 'string', default: 'large_unary' },
      use_tls: { type: 'string', default: 'false' },
      use_test_ca: { type: 'string' },
      ca_file: { type: 'string' },
      server_host_override: { type: 'string' },
      soak_iterations: { type: 'string', default: '10' },
    },
  });
  const test = cases[values.test_case];
  if (!test) throw new SettingsError(`there is no case "${values.test_case}", only ${Object.keys(cases).join(', ')}`);
  if (values.server_port === undefined) throw new SettingsError('--server_port is missing');
  const { server_host: host, ca_file: caFile, server_host_override: serverName } = values;
  return {
    name: values.test_case,
    test,
    address: `${host.includes(':') ? `[${host}]` : host}:${values.server_port}`,
    iterations: Number(values.soak_iterations),
    options: {
      env: tenonEnv(process.env),
      bind: (container) => {
        if (values.use_tls !== 'true') return;
        container.bind(TransportTlsOptions).toConstantValue({ client: { caFile, serverName } });
      },
    },
  };
}
