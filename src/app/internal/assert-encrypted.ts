import type { Container } from 'inversify';

import { Code, TenonError } from '../../errors/errors.ts';
import { declaredCapabilities } from '../../internal/capabilities.ts';
import { TransportTlsOptions } from '../../transport/tls.ts';
import { Transport, type TransportCapabilities } from '../../transport/transport.ts';
import { keyName } from './keys.ts';
import type { OptionParts } from './option-parts.ts';

interface Sides {
  readonly tls?: unknown;
  readonly serverTls?: unknown;
}

/**
 * Checks that the transport which was made speaks TLS where the application asked for it, also where `verify` could not
 * look. Throws FAILED_PRECONDITION (`app.security_not_in_force`) if clients or servers would speak in the clear.
 */
export async function assertEncrypted(container: Container, options: OptionParts, serves: boolean): Promise<void> {
  const transport = await container.getAsync(Transport);
  const { security } = declaredCapabilities<TransportCapabilities>(transport) ?? {};
  if (security === 'local') return;
  const { client, server } = await container.getAsync(TransportTlsOptions);
  const own = await ownOptions(container, options);
  const meant = {
    client: client ? keyName(TransportTlsOptions) : own.find(({ sides }) => sides.tls)?.name,
    server: server ? keyName(TransportTlsOptions) : own.find(({ sides }) => sides.serverTls)?.name,
  };
  const isTls = security === 'tls';
  const inForce = transport.encryption ?? { client: isTls, server: isTls };
  if (meant.client !== undefined && !inForce.client) throw notInForce(transport, 'clients', meant.client);
  if (serves && meant.server !== undefined && !inForce.server) throw notInForce(transport, 'servers', meant.server);
}

/** The options of every transport, whichever is bound. */
async function ownOptions(
  container: Container,
  options: OptionParts,
): Promise<readonly { readonly name: string; readonly sides: Sides }[]> {
  const parts = [...options.all].filter(([identifier]) => /^\w+TransportOptions$/.test(keyName(identifier)));
  return Promise.all(
    parts.map(async ([identifier]) => ({
      name: keyName(identifier),
      sides: await container.getAsync<Sides>(identifier as never),
    })),
  );
}

function notInForce(transport: Transport, side: string, key: string): TenonError {
  return new TenonError({
    code: Code.FailedPrecondition,
    reason: 'app.security_not_in_force',
    message: `${key} ask for TLS of ${side}, and the transport that is bound (${String(transport)}) does not speak it: let the container make the transport, or give it TLS where it is made; a transport of your own says in its capabilities how its calls are protected`,
  });
}
