/**
 * Masks an address for messages and logs: it keeps scheme, hosts, ports and a numbered database. Everything else may be
 * a secret and becomes `***`: the part before an `@`, after a `?` or a `#`, and anything but a number in the place of
 * one.
 */
export function maskAddress(address: string): string {
  // A word or a number holds no credentials.
  if (!/[@:/?#=\\\s]/.test(address)) return address;
  const [scheme = ''] = /^[a-z][a-z0-9+.-]*:\/\//i.exec(address) ?? [];
  const rest = address.slice(scheme.length);
  const at = rest.lastIndexOf('@');
  // A host after a password cannot be distinguished from the end of the password.
  if (/[?#=]/.test(rest.slice(0, Math.max(at, 0)))) return `${scheme}***`;
  const shown = rest
    .slice(at + 1)
    .split(',')
    .map(maskPlace);
  const hidden = shown.findIndex((one) => one.endsWith('***'));
  return `${scheme}${at < 0 ? '' : '***@'}${(hidden < 0 ? shown : shown.slice(0, hidden + 1)).join(',')}`;
}

function maskPlace(place: string): string {
  const [whole = ''] =
    /^(?:unix:)?\/[\w./-]*$/.exec(place) ??
    /^(?:\[[\da-f:.]*\]|[\da-f]*:[\da-f]*:[\da-f:.]*$|[\w.-]*)(?::\d{1,5}(?!\d))?(?:\/\d{0,3}$)?/i.exec(place) ??
    [];
  return whole === place ? place : `${whole.replace(/:\d+$/, '')}***`;
}
