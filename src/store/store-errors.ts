import { Code, TenonError } from '../errors/errors.ts';

/** UNAVAILABLE (`store.unreachable`): the server of a store is away. */
export function storeUnreachable(store: string, address: string, cause: unknown): TenonError {
  return new TenonError({
    code: Code.Unavailable,
    reason: 'store.unreachable',
    message: `the store "${store}" at ${address} does not answer. Start it, or give it the address where it is`,
    cause,
  });
}

/** FAILED_PRECONDITION (`store.closed`): a call after `close`. */
export function storeClosed(store: string): TenonError {
  return new TenonError({
    code: Code.FailedPrecondition,
    reason: 'store.closed',
    message: `the store "${store}" was closed`,
  });
}
