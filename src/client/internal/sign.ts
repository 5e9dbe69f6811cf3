import { Metadata } from '../../context/metadata.ts';
import { Code, TenonError } from '../../errors/errors.ts';
import { isPromise } from '../../internal/is-promise.ts';
import type { Transport } from '../../transport/transport.ts';
import type { CallCredentials } from '../credentials.ts';
import type { OutgoingContext } from './outgoing.ts';
import { type Router, withinCall } from './route.ts';

/** Dependencies of {@link signed}. */
export interface Signer {
  readonly transport: Transport;
  readonly router: Router;
  /** Applies to credentials that do not decide it themselves. */
  readonly allowInsecure: boolean;
}

/** Returns a copy of `headers` with the credentials of the call. The call's own metadata does not show them. */
export async function signed(
  { transport, router, allowInsecure }: Signer,
  credentials: CallCredentials,
  headers: Metadata,
  ctx: OutgoingContext,
): Promise<Metadata> {
  const { service, endpoint, peer: address } = ctx;
  try {
    const assertSecure = (): void => {
      const isAllowed = credentials.allowInsecure ?? allowInsecure;
      if (!isAllowed && transport.isSecure?.(address) !== true && !isLoopback(address)) throw insecure(address);
    };
    assertSecure();
    const given = credentials.metadata({
      service,
      method: endpoint,
      address,
      get signal() {
        return ctx.signal;
      },
    });
    const metadata = new Metadata().merge(isPromise(given) ? await withinCall(router, ctx, given) : given);
    // A listener of this process may have left meanwhile: the address is reached over a socket then.
    assertSecure();
    const result = new Metadata().merge(headers);
    for (const [key] of metadata) result.delete(key);
    return result.merge(metadata);
  } catch (error) {
    // Nothing has been sent.
    ctx.onRefused();
    if (ctx.aborted) throw ctx.aborted;
    throw TenonError.is(error) && error.reason === insecureReason ? error : noCredentials(ctx, error);
  }
}

/**
 * Returns true for an address of this machine: what is sent there never leaves it, as with gRPC's local credentials.
 */
function isLoopback(address: string): boolean {
  return /^(?:127(?:\.\d{1,3}){3}|localhost|\[::1\]|\[::ffff:127(?:\.\d{1,3}){3}\]):\d+$/i.test(address);
}

const insecureReason = 'client.insecure_credentials';

function insecure(address: string): TenonError {
  return new TenonError({
    code: Code.Unauthenticated,
    reason: 'client.insecure_credentials',
    message: `${address} is called in the clear, and whoever is on the way could take the credentials: give clients TLS (TENON_TLS_CA_FILE), or set allowInsecure of the credentials (TENON_CLIENT_INSECURE_CREDENTIALS)`,
  });
}

/**
 * The error of a source of credentials that failed. Its text may hold secrets, and this error may be passed on to a
 * caller, so that it is only in the cause.
 */
function noCredentials({ service, endpoint }: OutgoingContext, cause: unknown): TenonError {
  const isAway = TenonError.is(cause) && cause.code === Code.Unavailable;
  return new TenonError({
    code: isAway ? Code.Unavailable : Code.Unauthenticated,
    reason: 'client.no_credentials',
    message: `there are no credentials for the call of ${service}/${endpoint}: their source failed. See the cause`,
    cause,
  });
}
