/**
 * Splits the address of an ensemble, as in `host:2181,other:2181/chroot`, into its servers and the path below which a
 * client works; the path is empty, or begins with a slash and does not end in one.
 */
export function splitConnectString(address: string): { readonly servers: string; readonly chroot: string } {
  const slash = address.indexOf('/');
  if (slash < 0) return { servers: address, chroot: '' };
  return { servers: address.slice(0, slash), chroot: normalPath(address.slice(slash)) };
}

/** A path without empty parts, and without a slash at its end. */
export function normalPath(path: string): string {
  return path
    .split('/')
    .filter((part) => part !== '')
    .map((part) => `/${part}`)
    .join('');
}

/** True if ZooKeeper takes the path: no part is `.` or `..`, and no character is refused. */
export function isValidPath(path: string): boolean {
  // oxlint-disable-next-line no-control-regex
  return !/(?:^|\/)\.\.?(?:\/|$)|[\u0000-\u001f\u007f-\u009f\ud800-\uf8ff\ufff0-\uffff]/.test(path);
}
