import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';

import { freePort, TestProcess } from '../support/process.ts';
import { describeWithTools, toolPath } from '../support/tools.ts';
import { certificateFiles, listening, start, startService } from './support.ts';

/** The cases that grpc-go's own client and server pass between them. */
const cases = [
  'empty_unary',
  'large_unary',
  'client_streaming',
  'server_streaming',
  'ping_pong',
  'empty_stream',
  'timeout_on_sleeping_server',
  'cancel_after_begin',
  'cancel_after_first_response',
  'status_code_and_message',
  'special_status_message',
  'unimplemented_method',
  'unimplemented_service',
  'custom_metadata',
  'rpc_soak',
  'channel_soak',
];
// Of grpc-go's pair neither the client has them, nor does the server understand gzip.
const compressed = [
  'client_compressed_unary_noprobe',
  'client_compressed_unary',
  'server_compressed_unary',
  'server_compressed_streaming',
];

const files = certificateFiles();

/** Runs a case, and gives what it said unless it passed. */
async function outcome(client: TestProcess): Promise<string> {
  const { code } = await client.waitForExit(60_000);
  return code === 0 ? 'passed' : `${client.stdout}${client.stderr}`;
}

const runOfTenon = (name: string, port: string, isTls: boolean): Promise<string> => {
  const tls = [`--use_tls=${isTls}`, ...(isTls ? [`--ca_file=${files.ca}`] : [])];
  return outcome(start('interop-client', { args: [`--server_port=${port}`, `--test_case=${name}`, ...tls] }));
};

describe.each([
  ['in the clear', false],
  ['over TLS', true],
])('grpc interop tests %s', (_, isTls) => {
  describeWithTools('the interop service of tenon with the client of grpc-go', ['grpc-interop-client'], () => {
    let port = '';
    beforeAll(async () => {
      ({ port } = await startService(isTls ? { TLS_CERT: files.cert, TLS_KEY: files.key } : {}));
    });

    it.each([...cases, 'pick_first_unary'])('passes %s', async (name) => {
      const tls = isTls ? ['-use_tls', '-use_test_ca', '-ca_file', files.ca] : [];
      const args = ['-server_host', '127.0.0.1', '-server_port', port, '-test_case', name, ...tls];
      expect(await outcome(new TestProcess(toolPath('grpc-interop-client'), args))).toBe('passed');
    });
  });

  describeWithTools('the interop client of tenon with the server of grpc-go', ['grpc-interop-server'], () => {
    let port = 0;
    beforeAll(async () => {
      port = await freePort();
      const tls = isTls ? ['-use_tls', '-tls_cert_file', files.cert, '-tls_key_file', files.key] : [];
      await listening(port, new TestProcess(toolPath('grpc-interop-server'), ['-port', String(port), ...tls]));
    });

    it.each(cases)('passes %s', async (name) => {
      expect(await runOfTenon(name, String(port), isTls)).toBe('passed');
    });
  });
});

describe('the interop client of tenon with the interop service of tenon', () => {
  let port = '';
  beforeAll(async () => {
    ({ port } = await startService());
  });

  it.each([...cases, ...compressed])('passes %s', async (name) => {
    expect(await runOfTenon(name, port, false)).toBe('passed');
  });
});

describe('the interop client of tenon', () => {
  let port = '';
  let stop = async (): Promise<unknown> => undefined;
  beforeAll(async () => {
    const service = await startService({ MAX_RECV_BYTES: '100000' });
    port = service.port;
    stop = () => service.process.kill('SIGTERM');
  });
  afterAll(() => stop());

  it('exits with 1 if a case fails', async () => {
    const client = start('interop-client', { args: [`--server_port=${port}`, '--test_case=large_unary'] });
    expect((await client.waitForExit()).code).toBe(1);
    expect(client.stderr).toContain('transport.message_too_large');
  });

  it('lists the known cases for an unknown one', async () => {
    const client = start('interop-client', { args: [`--server_port=${port}`, '--test_case=jumbo_unary'] });
    expect((await client.waitForExit()).code).toBe(2);
    expect(client.stderr).toMatch(/^there is no case "jumbo_unary", only empty_unary, large_unary, /);
  });
});
