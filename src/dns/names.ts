import type { DnsConfig } from './dns.ts';

// RFC 1035 section 2.3.4: 255 bytes on the wire, with a byte of length before each label and the root at the end.
const maxNameLength = 253;
const maxLabelLength = 63;
const label = /^[a-z0-9_-]+$/;

/**
 * Returns a name in lower case, without the final dot; `undefined` if it cannot be the name of a service or a host:
 * labels of letters, digits, hyphens and underscores, of at most 63 characters, together at most 253.
 */
export function canonicalName(name: string): string | undefined {
  const canonical = name.replace(/\.$/, '').toLowerCase();
  if (canonical.length > maxNameLength) return undefined;
  const isName = canonical.split('.').every((one) => one.length <= maxLabelLength && label.test(one));
  return isName ? canonical : undefined;
}

/**
 * Returns the names to ask for in turn, in canonical form: with a final dot the name alone, else the name completed by
 * each domain of the search list, and the name itself before them if it has `ndots` dots, after them if not. Names that
 * are no valid names are left out.
 */
export function candidates(name: string, { search, ndots }: Pick<DnsConfig, 'search' | 'ndots'>): readonly string[] {
  const isComplete = name.endsWith('.');
  const dots = name.split('.').length - 1;
  const completed = isComplete ? [] : search.map((domain) => `${name}.${domain}`);
  const all = isComplete || dots >= ndots ? [name, ...completed] : [...completed, name];
  return [...new Set(all.map(canonicalName).filter((one) => one !== undefined))];
}
