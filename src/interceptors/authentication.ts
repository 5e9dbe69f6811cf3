import type { Context, ContextKey } from '../context/context.ts';
import type { PeerCertificate } from '../context/peer-certificate.ts';
import { Code, TenonError } from '../errors/errors.ts';
import { isPromise } from '../internal/is-promise.ts';
import type { Guard } from '../pipeline/enhancers.ts';

/**
 * Who calls, as a guard of this file found out: `ctx.get(principal)`. A key of your own, given as `as`, has the type as
 * well.
 */
export const principal: ContextKey<unknown> = { symbol: Symbol.for('tenon.interceptors.principal') };

/** Nothing at all, for whom no one can vouch. */
export type Unauthenticated = undefined | null | false;

/** What {@link bearerGuard} is told. */
export interface BearerOptions<P> {
  /**
   * Who the token stands for; nothing for a token that is none, is over or was taken back. What it throws refuses the
   * token just as well and is told to nobody but the log, except a `TenonError`, which is the status: UNAVAILABLE, say,
   * if whoever knows the tokens does not answer.
   *
   * A token that is a secret is looked up by its hash, or compared with `timingSafeEqual` of `node:crypto`: `===` takes
   * the longer the more of it was guessed right.
   */
  readonly verify: (token: string, ctx: Context) => P | Unauthenticated | Promise<P | Unauthenticated>;
  /** Under which key handlers find who calls. @default {@link principal} */
  readonly as?: ContextKey<P> | undefined;
}

/**
 * Lets calls through that bring a token in the metadata `authorization: Bearer <token>` (RFC 6750) for which `verify`
 * has someone. The others are UNAUTHENTICATED (`auth.no_token`, `auth.invalid_token`), and are not told why. Tokens
 * belong on connections with TLS.
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

/** What {@link certificateGuard} is told. */
export interface CertificateOptions<P> {
  /**
   * Who the certificate stands for; nothing refuses it. What it throws refuses it as well, as with {@link
   * BearerOptions.verify}.
   * @default whoever has one that the server's authorities signed
   */
  readonly verify?:
    ((certificate: PeerCertificate, ctx: Context) => P | Unauthenticated | Promise<P | Unauthenticated>) | undefined;
  /** Under which key handlers find who calls. @default {@link principal} */
  readonly as?: ContextKey<P> | undefined;
}

/**
 * Lets calls through whose connection was opened with a certificate (mTLS) for which `verify` has someone; by default
 * it stands for itself. The others are UNAUTHENTICATED (`auth.no_certificate`) or PERMISSION_DENIED
 * (`auth.certificate_refused`).
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
    ctx.logger.debug('who calls could not be found out', { error });
    throw refused(error);
  };
  let found: P | Unauthenticated | Promise<P | Unauthenticated>;
  try {
    found = find();
  } catch (error) {
    return failed(error);
  }
  // Whatever promise it is: taken for a caller itself, it would let everyone in.
  return isPromise(found) ? Promise.resolve(found).catch(failed).then(settle) : settle(found);
}

/** The scheme is written in any case, the token in the letters of RFC 6750, section 2.1. */
function bearerOf(header: string | undefined): string | undefined {
  return header === undefined ? undefined : /^bearer +([\w.~+/-]+=*)$/i.exec(header)?.[1];
}

function noToken(): TenonError {
  return new TenonError({
    code: Code.Unauthenticated,
    reason: 'auth.no_token',
    message: 'the call needs a token: authorization: Bearer <token>',
  });
}

function invalidToken(cause?: unknown): TenonError {
  return new TenonError({
    code: Code.Unauthenticated,
    reason: 'auth.invalid_token',
    message: 'the token of the call is not valid',
    cause,
  });
}

function noCertificate(): TenonError {
  return new TenonError({
    code: Code.Unauthenticated,
    reason: 'auth.no_certificate',
    message: 'the call needs a connection with a certificate of the client',
  });
}

function certificateRefused(cause?: unknown): TenonError {
  return new TenonError({
    code: Code.PermissionDenied,
    reason: 'auth.certificate_refused',
    message: 'the certificate of the client may not make this call',
    cause,
  });
}
