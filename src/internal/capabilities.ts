/** The capabilities that an instance declares, or else its class. `undefined` if neither does. */
export function declaredCapabilities<T extends object>(instance: unknown): T | undefined {
  return capabilitiesIn<T>(instance) ?? capabilitiesIn<T>((instance as object | undefined)?.constructor);
}

/** Reads `capabilities` of an object or a class: an object, or a function that makes it from options. */
export function capabilitiesIn<T extends object>(holder: unknown, options: object = {}): T | undefined {
  const stated = (holder as { readonly capabilities?: unknown } | undefined)?.capabilities;
  const capabilities: unknown = typeof stated === 'function' ? stated.call(holder, options) : stated;
  return typeof capabilities === 'object' && capabilities !== null ? (capabilities as T) : undefined;
}
