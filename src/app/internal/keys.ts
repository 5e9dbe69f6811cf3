import type { ServiceIdentifier } from 'inversify';

const frameworkKey = /^tenon\.\w+\.(\w+)$/;

/** Whether the key is one of tenon's own. */
export function isFrameworkKey(identifier: unknown): identifier is symbol {
  return typeof identifier === 'symbol' && frameworkKey.test(identifier.description ?? '');
}

/** Whether the key is one of tenon's own options or limits, of which layers say one field each. */
export function isOptionsKey(identifier: unknown): identifier is symbol {
  return isFrameworkKey(identifier) && /(?:Options|Limits)$/.test(keyName(identifier));
}

/** A container key as people call it: the class's name, `Registry` of `tenon.registry.Registry`, the text itself. */
export function keyName(identifier: ServiceIdentifier): string {
  if (typeof identifier === 'function') return identifier.name || 'a class without a name';
  if (typeof identifier === 'string') return identifier;
  const description = identifier.description ?? 'a symbol without a description';
  return frameworkKey.exec(description)?.[1] ?? description;
}
