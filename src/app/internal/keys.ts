import type { ServiceIdentifier } from 'inversify';

const frameworkKey = /^tenon\.\w+\.(\w+)$/;

/** True if the key is one of tenon's own. */
export function isFrameworkKey(identifier: unknown): identifier is symbol {
  return typeof identifier === 'symbol' && frameworkKey.test(identifier.description ?? '');
}

/** True if the key is one of tenon's own options or limits, which layers set field by field. */
export function isOptionsKey(identifier: unknown): identifier is symbol {
  return isFrameworkKey(identifier) && /(?:Options|Limits)$/.test(keyName(identifier));
}

/**
 * The name of a container key for people: the name of a class, `Registry` of `tenon.registry.Registry`, or the text
 * itself.
 */
export function keyName(identifier: ServiceIdentifier): string {
  if (typeof identifier === 'function') return identifier.name || 'a class without a name';
  if (typeof identifier === 'string') return identifier;
  const description = identifier.description ?? 'a symbol without a description';
  return frameworkKey.exec(description)?.[1] ?? description;
}

/** The room of one of tenon's keys: `transport` of `tenon.transport.GrpcTransportOptions`. */
export function roomOf(identifier: ServiceIdentifier): string {
  return typeof identifier === 'symbol' ? ((identifier.description ?? '').split('.')[1] ?? '') : '';
}
