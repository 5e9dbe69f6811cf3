import { run, TransportTlsOptions } from 'tenon';

import { decode, encode } from './conformance-api.ts';
import { ConformanceService } from './conformance-service.ts';
import { readFrames, writeFrame } from './frames.ts';
import { program, SettingsError, tenonEnv } from './settings.ts';

interface ServerCompatRequest {
  readonly useTls: boolean;
  readonly clientTlsCert: Uint8Array;
  readonly messageReceiveLimit: number;
  readonly serverCreds?: { readonly cert: Uint8Array; readonly key: Uint8Array };
}

await program(async () => {
  const { value: frame } = await readFrames(process.stdin).next();
  if (frame === undefined) throw new SettingsError('a ServerCompatRequest is expected on standard input');
  await serve(decode<ServerCompatRequest>('ServerCompatRequest', frame));
});

/** Serves as it was told, says where, and goes on until SIGTERM. */
async function serve({ useTls, clientTlsCert, messageReceiveLimit, serverCreds }: ServerCompatRequest): Promise<never> {
  const creds = useTls ? serverCreds : undefined;
  const limit = messageReceiveLimit > 0 ? { TENON_MAX_RECEIVE_BYTES: String(messageReceiveLimit) } : {};
  return run(ConformanceService, {
    env: tenonEnv(process.env, { TENON_SERVER_ADDRESS: '127.0.0.1:0', ...limit }),
    bind: (container) => {
      if (!creds) return;
      const asked = clientTlsCert.length > 0 ? { ca: clientTlsCert, clientAuth: 'require' as const } : {};
      container.bind(TransportTlsOptions).toConstantValue({ server: { cert: creds.cert, key: creds.key, ...asked } });
    },
    onStarted: (system) => {
      const address = system.services[0]?.server().address ?? '';
      const port = Number(address.slice(address.lastIndexOf(':') + 1));
      const response = { host: '127.0.0.1', port, pemCert: creds?.cert };
      writeFrame(process.stdout, encode('ServerCompatResponse', response));
    },
  });
}
