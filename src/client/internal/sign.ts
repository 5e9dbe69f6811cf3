import { Metadata } from '../../context/metadata.ts';
import { Code, TenonError } from '../../errors/errors.ts';
import { isPromise } from '../../internal/is-promise.ts';
import type { Transport } from '../../transport/transport.ts';
import type { CallCredentials } from '../credentials.ts';
import type { OutgoingContext } from './outgoing.ts';
import { type Router, withinCall } from './route.ts';

/** What signing a call takes. */
export interface Signer {
  readonly transport: Transport;
  readonly router: Router;
  /** What holds for credentials that leave it open. */
  readonly allowInsecure: boolean;
}

/** `headers` with the credentials of the call, in a copy: whoever looks at the call's metadata does not see them. */
export async function signed(
  { transport, router, allowInsecure }: Signer,
  credentials: CallCredentials,
  headers: Metadata,
  ctx: OutgoingContext,
): Promise<Metadata> {
  const { service, endpoint, peer: address } = ctx;
  try {
    if (!(credentials.allowInsecure ?? allowInsecure) && transport.isSecure?.(address) !== true && !isLoopback(address))
      throw insecure(address);
    const given = credentials.metadata({
      service,
      method: endpoint,
      address,
      get signal() {
        return ctx.signal;
      },
    });
    const metadata = new Metadata().merge(isPromise(given) ? await withinCall(router, ctx, given) : given);
    const result = new Metadata().merge(headers);
    for (const [key] of metadata) result.delete(key);
    return result.merge(metadata);
  } catch (error) {
    // Nobody has been sent anything.
    ctx.onRefused();
    if (ctx.aborted) throw ctx.aborted;
    throw TenonError.is(error) && error.reason === insecureReason ? error : noCredentials(ctx, error);
  }
}

/** Whether nobody but this machine sees what is sent there, as with gRPC's local credentials. */
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

/** The text of a source may hold secrets, and this error may travel on to a caller: it is only in the cause. */
function noCredentials({ service, endpoint }: OutgoingContext, cause: unknown): TenonError {
  const isAway = TenonError.is(cause) && cause.code === Code.Unavailable;
  return new TenonError({
    code: isAway ? Code.Unavailable : Code.Unauthenticated,
    reason: 'client.no_credentials',
    message: `there are no credentials for the call of ${service}/${endpoint}: their source failed. See the cause`,
    cause,
  });
}
