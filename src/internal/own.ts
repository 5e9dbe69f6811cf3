/*
 * Keys that come from a peer are looked up in Maps, or with these functions: a plain object inherits `constructor`,
 * `toString` and others, and an assignment to `__proto__` changes its prototype.
 */

/** Gives the object's own value under `key`, never an inherited one. */
export function ownValue<T>(object: Readonly<Record<string, T>>, key: string): T | undefined {
  return Object.hasOwn(object, key) ? object[key] : undefined;
}

/** Sets the object's own value under `key`, whatever the key is. */
export function setOwn<T>(object: Record<string, T>, key: string, value: T): void {
  if (key === '__proto__')
    Object.defineProperty(object, key, { value, enumerable: true, configurable: true, writable: true });
  else object[key] = value;
}
