import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, afterEach, describe, expect, it } from '@jest/globals';

import { Code, type Context, Handler, Rpc, Service, System } from '../../src/index.ts';
import { authority } from '../support/certificates.ts';

const folder = mkdtempSync(join(tmpdir(), 'tenon-app-tls-'));
afterAll(() => rmSync(folder, { recursive: true }));

const ca = authority();
const { cert, key } = ca.issue({ name: 'teller', names: ['127.0.0.1'] });
const file = (name: string, text: string): string => {
  writeFileSync(join(folder, name), text);
  return join(folder, name);
};
const tls = {
  TENON_TLS_CERT_FILE: file('tls.crt', cert),
  TENON_TLS_KEY_FILE: file('tls.key', key),
  TENON_TLS_CA_FILE: file('ca.crt', ca.cert),
};

@Handler('teller.Teller')
class TellerHandler {
  @Rpc() async whoAmI(_request: object, ctx: Context): Promise<{ name: string | undefined }> {
    return { name: ctx.peerCertificate?.commonName };
  }
  @Rpc({ stream: 'bidi' }) async *whoAreWe(_requests: AsyncIterable<object>, ctx: Context): AsyncIterable<object> {
    yield { name: ctx.peerCertificate?.commonName };
  }
}

@Service({ name: 'teller', handlers: [TellerHandler] })
class Teller {}

let system: System | undefined;
afterEach(async () => {
  await system?.stop();
  system = undefined;
});

async function start(env: Record<string, string>): Promise<System> {
  system = await System.start([Teller], { profile: 'local', env: { TENON_LOG_LEVEL: 'silent', ...env } });
  return system;
}

describe('an application with certificates from its environment', () => {
  it('calls over TLS, and its handlers see who calls', async () => {
    const teller = (await start({ ...tls, TENON_TLS_CLIENT_AUTH: 'require' })).client(TellerHandler);
    expect(await teller.whoAmI({})).toEqual({ name: 'teller' });
    for await (const reply of teller.whoAreWe((async function* () {})())) expect(reply).toEqual({ name: 'teller' });
  });

  it('has no peer certificate if servers ask for none', async () => {
    expect(await (await start(tls)).client(TellerHandler).whoAmI({})).toEqual({});
  });

  it('does not serve in the clear if only an authority is configured', async () => {
    const { TENON_TLS_CA_FILE } = tls;
    await expect(start({ TENON_TLS_CA_FILE })).rejects.toMatchObject({
      code: Code.FailedPrecondition,
      reason: 'tls.invalid',
    });
  });
});
