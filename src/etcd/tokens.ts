import { Code, TenonError, textOf } from '../errors/errors.ts';
import type { ConnectionSecurity } from '../tls/connection.ts';
import type { EtcdChannel } from './messages.ts';

/** Options of {@link Tokens}. */
export interface TokensOptions {
  readonly channel: EtcdChannel;
  readonly security: ConnectionSecurity;
  readonly timeoutMs: number;
  /** Called when credentials are valid again that were not, or are others than before. */
  readonly onValidAgain: () => void;
}

// Metadata of etcd's own clients: a member that has lost the others refuses, instead of answering from its own past.
const requireLeader = { hasleader: 'true' };

/** The metadata of all calls. A token is fetched for credentials, and again when etcd no longer takes it. */
export class Tokens {
  /** Gives the metadata of a call. Rejects where there is no token for it. */
  readonly metadata = async (): Promise<Record<string, string>> => {
    if (!this.#options.security.hasCredentials) return requireLeader;
    return { ...requireLeader, token: await (this.#current ?? this.#fetch()) };
  };
  readonly #options: TokensOptions;
  readonly #closing = new AbortController();
  #current: Promise<string> | undefined;
  /** The password that etcd took last. */
  #proved: string | undefined;
  #isDenied = false;

  constructor(options: TokensOptions) {
    this.#options = options;
  }

  /** The token of the next call; undefined if it has to be fetched, or none is needed. */
  get current(): Promise<string> | undefined {
    return this.#current;
  }

  /** True if another token may help. The next call fetches it, unless there is another one than `used` already. */
  isRefused(error: unknown, used: Promise<string> | undefined): boolean {
    const isRefused = /invalid auth token|revision of auth store is old|user name is empty/.test(textOf(error));
    if (isRefused && (used === undefined || this.#current === used)) this.#current = undefined;
    return isRefused && this.#options.security.hasCredentials;
  }

  /** Ends the fetching of a token. */
  close(): void {
    this.#closing.abort();
  }

  #fetch(): Promise<string> {
    const token = this.#authenticate();
    this.#current = token;
    token.catch(() => {
      if (this.#current === token) this.#current = undefined;
    });
    return token;
  }

  async #authenticate(): Promise<string> {
    const { channel, security, timeoutMs, onValidAgain } = this.#options;
    try {
      const { username: name, password } = security;
      const metadata = (): Promise<typeof requireLeader> => Promise.resolve(requireLeader);
      const call = { signal: this.#closing.signal, timeoutMs, metadata, isRepeatable: true };
      const reply = await channel.unary('etcdserverpb.Auth/Authenticate', { name, password }, call);
      const isValidAgain = this.#isDenied || (this.#proved !== undefined && this.#proved !== password);
      this.#isDenied = false;
      this.#proved = password;
      if (isValidAgain) onValidAgain();
      return (reply as { readonly token: string }).token;
    } catch (error) {
      // Without authentication any token is as good.
      if (/authentication is not enabled/.test(textOf(error))) return '';
      if (TenonError.from(error).code === Code.InvalidArgument) this.#isDenied = true;
      throw error;
    }
  }
}
