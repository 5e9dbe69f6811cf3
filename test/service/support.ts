import { backendRows } from '../../src/app/internal/backend-table.ts';
import type { RegistryCapabilities } from '../../src/registry/registry.ts';

const capabilities = new Map<string, RegistryCapabilities>();
for (const { name, load } of backendRows.registry) {
  const { implementation } = await load({});
  const stated = (implementation as { readonly capabilities?: unknown }).capabilities;
  const known: unknown = typeof stated === 'function' ? stated({}) : stated;
  if (known) capabilities.set(name, known as RegistryCapabilities);
}

/** The capabilities of a registry of tenon, with its default options. */
export function capabilitiesOf(registry: string): RegistryCapabilities | undefined {
  return capabilities.get(registry);
}

/** The registries of tenon that are servers, and in which services can register. */
export function registriesWithServers(): readonly string[] {
  return backendRows.registry
    .filter(({ name, server }) => server !== undefined && capabilitiesOf(name)?.registers !== false)
    .map(({ name }) => name);
}

/** The lease nearest to `ttlMs` that a registry keeps. */
export function leaseOf(registry: string, ttlMs: number): number {
  return Math.max(ttlMs, capabilitiesOf(registry)?.minTtlMs ?? 1);
}
