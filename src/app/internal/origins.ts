import { maskAddress } from '../../internal/mask.ts';
import type { Config } from '../config.ts';
import { variables } from './variable-list.ts';

/**
 * The origin of a variable's value: the variable itself if it is set, else the profile if it has a default for it, else
 * the default.
 */
export function originOf(name: string, { stated, profile }: Config): string {
  if (stated.includes(name)) return name;
  const variable = variables.find((one) => one.name === name);
  return typeof variable?.fallback === 'object' ? `profile ${profile}` : 'default';
}

/** Options whose text is not secret. Texts of all others are masked. */
const plain: ReadonlySet<string> = new Set([
  'address',
  'advertise',
  'dialect',
  'domain',
  'format',
  'id',
  'interface',
  'level',
  'name',
  'prefix',
  'version',
]);

/**
 * The value of an option as text for people: numbers, flags and texts that are not secret; of all others only their
 * shape.
 */
export function displayedOption(field: string, value: unknown): string {
  if (typeof value === 'string') return plain.has(field) ? maskAddress(value) : '***';
  if (typeof value === 'function') return 'a function';
  if (Array.isArray(value)) return value.length === 1 ? 'one entry' : `${value.length} entries`;
  if (typeof value !== 'object' || value === null) return String(value);
  const { name = 'Object' } = (value as { readonly constructor?: { readonly name?: string } }).constructor ?? {};
  if (name !== 'Object') return name;
  const said = Object.entries(value).filter(([, one]) => one !== undefined);
  return said.length === 0 ? '{}' : `{ ${said.map(([one]) => one).join(', ')} }`;
}
