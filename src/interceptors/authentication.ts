import type { Context, ContextKey } from '../context/context.ts';
import type { PeerCertificate } from '../context/peer-certificate.ts';
import { Code, TenonError } from '../errors/errors.ts';
import { isPromise } from '../internal/is-promise.ts';
import type { Guard } from '../pipeline/enhancers.ts';

/**
 * The context key under which the guards of this file leave the caller: `ctx.get(principal)`. A key of your own, given
 * as the option `as`, is typed.
 */
export const principal: ContextKey<unknown> = { symbol: Symbol.for('tenon.interceptors.principal') };

/** The result of a verifier for a caller that it does not know. */
export type Unauthenticated = undefined | null | false;

/** Options of {@link bearerGuard}. */
export interface BearerOptions<P> {
  /**
   * Gives the caller that a token stands for, or nothing for a token that is unknown, expired or revoked. An error that
   * it throws refuses the token and is only logged, except a `TenonError`, which becomes the status: UNAVAILABLE, say,
   * while the store of tokens does not answer.
   *
   * Look secret tokens up by their hash, or compare them with `timingSafeEqual` of `node:crypto`: the time that `===`
   * takes tells how much of a guess is right.
   */
  readonly verify: (token: string, ctx: Context) => P | Unauthenticated | Promise<P | Unauthenticated>;
  /** The context key under which handlers find the caller. @default {@link principal} */
  readonly as?: ContextKey<P> | undefined;
}

/**
 * Makes a guard that admits calls whose metadata has a token, `authorization: Bearer <token>` (RFC 6750), for which
 * `verify` gives a caller. Other calls are UNAUTHENTICATED (`interceptors.no_token`, `interceptors.invalid_token`),
 * without the cause. Send tokens over TLS only.
 *
 * @example
 * ```ts
 * import { createHash } from 'node:crypto';
 *
 * interface User {
 *   readonly name: string;
 * }
 * const user = contextKey<User>('user');
 * const digest = (token: string): string => createHash('sha256').update(token).digest('hex');
 * const users = new Map([[digest('a secret'), { name: 'Ada' }]]);
 *
 * @UseGuard(bearerGuard({ verify: (token) => users.get(digest(token)), as: user }))
 * @Handler('greeter.Greeter')
 * class GreeterHandler {
 *   @Rpc() async hello(_request: object, ctx: Context): Promise<{ text: string }> {
 *     return { text: `Hello ${ctx.get(user)?.name}` };
 *   }
 * }
 * ```
 */
export function bearerGuard<P>(options: BearerOptions<P>): Guard {
  const { verify, as = principal } = options;
  return {
    activate(ctx) {
      const token = bearerOf(ctx.metadata.text('authorization'));
      if (token === undefined) throw noToken();
      return admit(ctx, as, () => verify(token, ctx), invalidToken);
    },
  };
}

/** Options of {@link certificateGuard}. */
export interface CertificateOptions<P> {
  /**
   * Gives the caller that a certificate stands for, or nothing to refuse it. Errors are treated as those of
   * {@link BearerOptions.verify}.
   * @default admits every certificate that the server's authorities signed
   */
  readonly verify?:
    ((certificate: PeerCertificate, ctx: Context) => P | Unauthenticated | Promise<P | Unauthenticated>) | undefined;
  /** The context key under which handlers find the caller. @default {@link principal} */
  readonly as?: ContextKey<P> | undefined;
}

/**
 * Makes a guard that admits calls over connections with a client certificate (mTLS) for which `verify` gives a caller;
 * by default the certificate itself is the caller. Other calls are UNAUTHENTICATED (`interceptors.no_certificate`) or
 * PERMISSION_DENIED (`interceptors.certificate_refused`).
 *
 * @example
 * ```ts
 * const workload = contextKey<string>('workload');
 * const ours = certificateGuard({
 *   verify: ({ uris }) => uris.find((uri) => uri.startsWith('spiffe://example.org/')),
 *   as: workload,
 * });
 *
 * @UseGuard(ours)
 * @Service({ name: 'greeter', handlers: [] })
 * class Greeter {}
 * ```
 */
export function certificateGuard<P = PeerCertificate>(options: CertificateOptions<P> = {}): Guard {
  const { verify = (certificate: PeerCertificate) => certificate as P, as = principal } = options;
  return {
    activate(ctx) {
      const certificate = ctx.peerCertificate;
      if (!certificate) throw noCertificate();
      return admit(ctx, as, () => verify(certificate, ctx), certificateRefused);
    },
  };
}

function admit<P>(
  ctx: Context,
  as: ContextKey<unknown>,
  find: () => P | Unauthenticated | Promise<P | Unauthenticated>,
  refused: (cause?: unknown) => TenonError,
): boolean | Promise<boolean> {
  const settle = (found: unknown): true => {
    if (found === undefined || found === null || found === false) throw refused();
    ctx.set(as, found);
    return true;
  };
  const failed = (error: unknown): never => {
    if (TenonError.is(error)) throw error;
    ctx.logger.debug('the caller could not be verified', { error });
    throw refused(error);
  };
  let found: P | Unauthenticated | Promise<P | Unauthenticated>;
  try {
    found = find();
  } catch (error) {
    return failed(error);
  }
  // A promise of another library is awaited too: taken for the caller, it would admit everyone.
  return isPromise(found) ? Promise.resolve(found).catch(failed).then(settle) : settle(found);
}

/** Reads the token of an `authorization` header; the scheme is case-insensitive (RFC 6750, section 2.1). */
function bearerOf(header: string | undefined): string | undefined {
  return header === undefined ? undefined : /^bearer +([\w.~+/-]+=*)$/i.exec(header)?.[1];
}

function noToken(): TenonError {
  return new TenonError({
    code: Code.Unauthenticated,
    reason: 'interceptors.no_token',
    message: 'the call has no token: send the metadata authorization: Bearer <token>',
  });
}

function invalidToken(cause?: unknown): TenonError {
  return new TenonError({
    code: Code.Unauthenticated,
    reason: 'interceptors.invalid_token',
    message: 'the token of the call is not valid',
    cause,
  });
}

function noCertificate(): TenonError {
  return new TenonError({
    code: Code.Unauthenticated,
    reason: 'interceptors.no_certificate',
    message: 'the connection has no client certificate: call over TLS with one',
  });
}

function certificateRefused(cause?: unknown): TenonError {
  return new TenonError({
    code: Code.PermissionDenied,
    reason: 'interceptors.certificate_refused',
    message: 'the certificate of the client may not make this call',
    cause,
  });
}
