/** Characters that ZooKeeper refuses in paths, the separator, and the sign of the encoding itself. */
// oxlint-disable-next-line no-control-regex
const refused = /[%/\u0000-\u001f\u007f-\u009f\u{e000}-\u{f8ff}\u{fff0}-\u{10ffff}]/gu;

/** A text as the name of a node in a path: percent-encoded where ZooKeeper would refuse it, else as it is. */
export function nodeName(text: string): string {
  // Half a surrogate pair has no UTF-8, and is replaced.
  const name = Buffer.from(text).toString().replace(refused, encodeURIComponent);
  return name === '.' || name === '..' ? name.replaceAll('.', '%2E') : name;
}
