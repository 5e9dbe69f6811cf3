import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { expect, it } from '@jest/globals';

import { authority } from '../support/certificates.ts';
import { startNode, TestProcess } from '../support/process.ts';
import { describeWithTools, toolPath } from '../support/tools.ts';

const program = fileURLToPath(new URL('programs/reflected.mjs', import.meta.url));

describeWithTools('grpc-health-probe', ['grpc-health-probe'], () => {
  const probe = async (address: string, ...args: string[]): Promise<{ code: number | null; said: string }> => {
    const child = new TestProcess(toolPath('grpc-health-probe'), ['-addr', address, ...args]);
    const { code } = await child.exited;
    return { code, said: `${child.stdout}${child.stderr}`.trim() };
  };
  const start = async (env: Record<string, string>): Promise<{ served: TestProcess; address: string }> => {
    const served = startNode(program, { env: { TENON_PROFILE: 'local', ...env } });
    const [, address = ''] = await served.waitForLine(/^address (\S+)/);
    return { served, address };
  };

  it('reports SERVING, then NOT_SERVING while a process drains, for the process and for a service', async () => {
    // The probe is quicker than that; the second signal ends it.
    const { served, address } = await start({ TENON_LAME_DUCK_MS: '600000' });
    for (const service of [[], ['-service', 'places.Places'], ['-service', 'liveness']])
      expect(await probe(address, ...service)).toMatchObject({ code: 0, said: expect.stringContaining('SERVING') });
    expect((await probe(address, '-service', 'places.Nowhere')).code).not.toBe(0);
    served.signal('SIGTERM');
    await served.waitForLog(/draining signal=SIGTERM/);
    for (const service of [[], ['-service', 'places.Places']]) {
      const { code, said } = await probe(address, ...service);
      expect(said).toContain('NOT_SERVING');
      // The probe's own code for an answer that is not SERVING.
      expect(code).toBe(4);
    }
    expect((await probe(address, '-service', 'liveness')).code).toBe(0);
    served.signal('SIGTERM');
    expect(await served.waitForExit()).toEqual({ code: 1, signal: null });
    // Nobody listens any more: no connection.
    expect((await probe(address, '-connect-timeout', '500ms')).code).toBe(2);
  });

  it('probes over TLS', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'tenon-probe-'));
    try {
      const file = (name: string, text: string): string => {
        writeFileSync(join(folder, name), text);
        return join(folder, name);
      };
      const ca = authority();
      const { cert, key } = ca.issue({ name: 'probed', names: ['127.0.0.1'] });
      const trusted = file('ca.crt', ca.cert);
      const { served, address } = await start({
        TENON_TLS_CERT_FILE: file('tls.crt', cert),
        TENON_TLS_KEY_FILE: file('tls.key', key),
        TENON_TLS_CA_FILE: trusted,
      });
      expect(await probe(address, '-tls', '-tls-ca-cert', trusted)).toMatchObject({ code: 0 });
      expect((await probe(address)).code).not.toBe(0);
      expect(await served.kill('SIGTERM')).toEqual({ code: 0, signal: null });
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('finds no health service if TENON_HEALTH is false', async () => {
    const { served, address } = await start({ TENON_HEALTH: 'false' });
    expect((await probe(address)).said).toContain('does not implement the grpc health protocol');
    expect(await served.kill('SIGTERM')).toEqual({ code: 0, signal: null });
  });
});
