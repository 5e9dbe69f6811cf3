import { Code, TenonError } from '../errors/errors.ts';
import { over, SerialIterator } from '../internal/iterators.ts';
import type { ServiceRuntime } from '../service/service.ts';
import type { Health, ServingStatus } from './health.ts';

/** What a {@link ServiceHealth} is told. */
export interface ServiceHealthOptions {
  /** Full names of the services that are answered. */
  readonly services: readonly string[];
  /** Whether a node that callers cannot find in the registry is NOT_SERVING. @default true */
  readonly followsRegistry?: boolean | undefined;
  /** Whether a node whose subscriptions do not stand is NOT_SERVING. @default true */
  readonly followsBroker?: boolean | undefined;
}

/** The name under which nothing but a process that no longer answers is a failure: what a supervisor restarts by. */
export const liveness = 'liveness';

/**
 * How one service of the process is: what its lifecycle says, and while it serves what the application says.
 *
 * SERVING needs a service that serves and, unless told otherwise, a lease in the registry that has not run out: one
 * that failed to be renewed once is still good, so a short outage does not show. Its subscriptions have to stand as
 * well: they do not where the broker was away at the start. `liveness` follows neither: a node that drains must not be
 * killed, nor every node of a fleet because the registry is away.
 */
export class ServiceHealth {
  readonly #service: Pick<ServiceRuntime, 'status' | 'onChange'>;
  readonly #health: Health;
  readonly #services: ReadonlySet<string>;
  readonly #followsRegistry: boolean;
  readonly #followsBroker: boolean;

  constructor(
    service: Pick<ServiceRuntime, 'status' | 'onChange'>,
    health: Health,
    { services, followsRegistry = true, followsBroker = true }: ServiceHealthOptions,
  ) {
    this.#service = service;
    this.#health = health;
    this.#services = new Set(['', ...services, liveness]);
    this.#followsRegistry = followsRegistry;
    this.#followsBroker = followsBroker;
  }

  /** The names that can be asked for. */
  names(): readonly string[] {
    return [...new Set([...this.#services, ...this.#health.names()])];
  }

  /** How the service of that name is; `undefined` for one that is not known. */
  status(name: string): ServingStatus | undefined {
    const said = this.#health.get(name);
    if (said === undefined && !this.#services.has(name)) return undefined;
    return name === liveness || this.#isServing() ? (said ?? 'SERVING') : 'NOT_SERVING';
  }

  /**
   * How the service is now, and then each change: what comes and goes while the reader is busy is left out. A name that
   * is not known is SERVICE_UNKNOWN until it is. The iteration fails with UNAVAILABLE, after the last change, when the
   * server takes no more calls, for it must not hold up the stop.
   */
  watch(name: string): AsyncIterableIterator<ServingStatus | 'SERVICE_UNKNOWN', undefined> {
    return new Watch(
      () => this.status(name) ?? 'SERVICE_UNKNOWN',
      () => this.#service.status.isAccepting,
      (listener) => this.#onChange(listener),
    );
  }

  #isServing(): boolean {
    const { state, isRegistered, isSubscribed } = this.#service.status;
    const isReachable = isRegistered || !this.#followsRegistry;
    return state === 'serving' && isReachable && (isSubscribed || !this.#followsBroker);
  }

  #onChange(listener: () => void): () => void {
    const forget = [this.#service.onChange(listener), this.#health.onChange(listener)];
    return () => {
      for (const one of forget) one();
    };
  }
}

/** The changes of a value. Not a generator: one that waits cannot be left. */
class Watch<T> extends SerialIterator<T> {
  readonly #value: () => T;
  readonly #goesOn: () => boolean;
  readonly #onChange: (listener: () => void) => () => void;
  #forget: (() => void) | undefined;
  #last: T | undefined;
  #isLeft = false;
  #wake: (() => void) | undefined;

  constructor(value: () => T, goesOn: () => boolean, onChange: (listener: () => void) => () => void) {
    super();
    this.#value = value;
    this.#goesOn = goesOn;
    this.#onChange = onChange;
  }

  override async return(): Promise<IteratorResult<T, undefined>> {
    this.#isLeft = true;
    this.#forget?.();
    this.#wake?.();
    return over;
  }

  protected override async read(): Promise<IteratorResult<T, undefined>> {
    for (;;) {
      if (this.#isLeft) return over;
      this.#forget ??= this.#onChange(() => this.#wake?.());
      const value = this.#value();
      if (value !== this.#last) {
        this.#last = value;
        return { done: false, value };
      }
      if (!this.#goesOn()) {
        this.#isLeft = true;
        this.#forget();
        throw stopping();
      }
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }
}

function stopping(): TenonError {
  return new TenonError({ code: Code.Unavailable, reason: 'health.stopping', message: 'the server stops' });
}
