/** Formats a host and a port as an address: `host:port`, with an IPv6 address in brackets. */
export function hostPort(host: string, port: number | string): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}

/**
 * Parses `host:port`, several separated by commas, each with or without its port; an IPv6 address stands in brackets.
 * Gives `undefined` for anything else.
 */
export function parseHostPorts(
  text: string,
  defaultPort: number,
): readonly { readonly host: string; readonly port: number }[] | undefined {
  const found: { readonly host: string; readonly port: number }[] = [];
  for (const one of text.split(',')) {
    const [, v6, host = v6, port = String(defaultPort)] =
      /^\s*(?:\[([\da-f:.]+)\]|([^\s:/@[\],]+))(?::(\d{1,5}))?\s*$/i.exec(one) ?? [];
    if (host === undefined || Number(port) < 1 || Number(port) > 65_535) return undefined;
    found.push({ host, port: Number(port) });
  }
  return found;
}
