import { Code, TenonError } from '../errors/errors.ts';
import { over, SerialIterator } from '../internal/iterators.ts';
import type { ServiceRuntime } from '../service/service.ts';
import type { Health, ServingStatus } from './health.ts';

/** Options of a {@link ServiceHealth}. */
export interface ServiceHealthOptions {
  /** The full names of the services that the server answers. */
  readonly services: readonly string[];
  /** Makes a node NOT_SERVING while callers cannot find it in the registry. @default true */
  readonly followsRegistry?: boolean | undefined;
  /** Makes a node NOT_SERVING while its subscriptions are not active. @default true */
  readonly followsBroker?: boolean | undefined;
}

/** The name to check for a supervisor that restarts processes: it is SERVING as long as the process answers. */
export const liveness = 'liveness';

/**
 * Computes the health of one service of the process: from its lifecycle and, while it serves, from the status that the
 * application set.
 *
 * A service is SERVING if it serves and, unless an option turns that off, its lease in the registry has not expired
 * (one failed renewal does not matter, so that a short outage does not show), and its subscriptions are active, which
 * they are not if the broker was away at the start. `liveness` follows neither: a node that drains must not be killed,
 * nor every node of a fleet because the registry is away.
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

  /** Returns all names that have a status. */
  names(): readonly string[] {
    return [...new Set([...this.#services, ...this.#health.names()])];
  }

  /** Returns the status of a name; `undefined` for one that is not known. */
  status(name: string): ServingStatus | undefined {
    const said = this.#health.get(name);
    if (said === undefined && !this.#services.has(name)) return undefined;
    return name === liveness || this.#isServing() ? (said ?? 'SERVING') : 'NOT_SERVING';
  }

  /**
   * Yields the status of a name now and after each change. Changes that come and go while the reader is busy are left
   * out. A name that is not known is SERVICE_UNKNOWN until it is. The iteration fails with UNAVAILABLE, after the last
   * change, when the server takes no more calls, as it must not hold up the stop.
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

/** Iterates over the changes of a value. Not a generator, because a generator that waits cannot be ended. */
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
