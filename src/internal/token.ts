import type { ServiceIdentifier } from 'inversify';

/**
 * Makes the container key of a contract: `Symbol.for('tenon.<room>.<Name>')`, so that two copies of the
 * package agree on it. The type parameter travels with the key: `container.get(token)` is typed.
 */
export function token<T>(room: string, name: string): ServiceIdentifier<T> {
  return Symbol.for(`tenon.${room}.${name}`);
}
