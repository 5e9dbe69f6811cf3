/** Before every text of `whyTlsFailed`, so that it is known again where only a text gets through. */
const tlsMark = 'TLS failed: ';

/** The two ends of a handshake that failed, as far as the explanation needs them. */
export interface TlsHandshake {
  /** The name that the certificate of the server had to be for. */
  readonly serverName: string;
  /** This side has a certificate to show. */
  readonly hasIdentity: boolean;
  /** The file of the authorities that this side trusts. */
  readonly caFile?: string | undefined;
  /** The prefix of the variables that set this side's TLS. @default 'TENON_TLS_' */
  readonly variables?: string | undefined;
}

/**
 * Explains why a handshake with a server failed, and what to do, in one sentence that begins with {@link tlsMark}. Not
 * one byte of what was to be sent has been sent then.
 */
export function whyTlsFailed(error: Error, handshake: TlsHandshake): string {
  const { code = '', message } = error as NodeJS.ErrnoException;
  const isClosed = code === 'ECONNRESET' || message.includes('was closed');
  return whyHandshakeFailed(error, handshake) ?? tlsMark + (isClosed ? whyClosed(handshake) : message);
}

/** The same for an error that need not be one of a handshake: `undefined` if it is none. */
export function whyHandshakeFailed(error: Error, handshake: TlsHandshake): string | undefined {
  const { code = '' } = error as NodeJS.ErrnoException;
  const explanation = explanationOf(`${code} ${error.message}`, handshake);
  return explanation === undefined ? undefined : tlsMark + explanation;
}

/**
 * Says what a text tells of TLS, if it does: that of {@link whyTlsFailed}, or of a server's alert about a handshake
 * that this side had thought over: with TLS 1.3 it looks at certificates of clients afterwards.
 */
export function whyTls(text: string): string | undefined {
  if (text.startsWith(tlsMark)) return text;
  if (!/SSL alert number \d+|ssl3_read_bytes|ALERT_/.test(text)) return undefined;
  return tlsMark + (explanationOf(text, { serverName: '', hasIdentity: true }) ?? text);
}

function explanationOf(text: string, handshake: TlsHandshake): string | undefined {
  const { serverName, hasIdentity, caFile, variables = 'TENON_TLS_' } = handshake;
  const trusted = caFile === undefined ? 'here' : `by ${caFile}`;
  if (/CERT_HAS_EXPIRED/.test(text))
    return 'the certificate of the server, or of one of its authorities, has expired; renew it there';
  if (/CERT_NOT_YET_VALID/.test(text))
    return 'the certificate of the server is not valid yet; see the clocks of both machines';
  if (/ERR_TLS_CERT_ALTNAME_INVALID/.test(text)) {
    return `${text.replace(/^ERR_TLS_CERT_ALTNAME_INVALID /, '')}; call the server by a name of its certificate, or set tls.serverName (${variables}SERVER_NAME)`;
  }
  if (/SELF_SIGNED_CERT|UNABLE_TO_(?:VERIFY|GET)|CERT_UNTRUSTED|INVALID_CA|CERT_SIGNATURE_FAILURE/.test(text))
    return `the certificate of "${serverName}" was signed by an authority that is not trusted ${trusted}; set tls.caFile (${variables}CA_FILE) to the certificate of the authority that signed it`;
  if (/WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG|UNKNOWN_PROTOCOL|BAD_RECORD_TYPE|wrong version number/.test(text))
    return 'what answers does not speak TLS; let the server speak it, or leave out tls here';
  if (/CERTIFICATE_REQUIRED|certificate required/i.test(text)) return needsCertificate(variables);
  if (/HANDSHAKE_FAILURE|handshake failure/i.test(text) && !hasIdentity) return needsCertificate(variables);
  if (/alert unknown ca|ALERT_UNKNOWN_CA/i.test(text))
    return 'the server does not trust the authority that signed the certificate of this client; give it one that the server trusts';
  if (/alert certificate expired|ALERT_CERTIFICATE_EXPIRED/i.test(text))
    return 'the server says that the certificate of this client has expired; renew it';
  if (
    /alert (?:bad|unsupported|unknown) certificate|certificate unknown|ALERT_(?:BAD|UNSUPPORTED)_CERTIFICATE|CERTIFICATE_UNKNOWN/i.test(
      text,
    )
  )
    return 'the server refused the certificate of this client; it may not be made for clients, or not be the one the server knows';
  if (/PROTOCOL_VERSION|protocol version|UNSUPPORTED_PROTOCOL/i.test(text))
    return 'both sides have no version of TLS in common; see minVersion';
  if (/NO_APPLICATION_PROTOCOL|no application protocol/i.test(text))
    return 'the server speaks TLS, but not HTTP/2 inside it; is it a server of gRPC?';
  if (/before secure TLS connection/.test(text)) return whyClosed(handshake);
  return undefined;
}

function whyClosed({ hasIdentity, variables = 'TENON_TLS_' }: TlsHandshake): string {
  return `the connection was closed in the handshake; does the server speak TLS${hasIdentity ? ', and take the certificate of this client' : `, and does it ask for a certificate (tls.certFile, ${variables}CERT_FILE)`}?`;
}

function needsCertificate(variables: string): string {
  return `the server asks for a certificate, and this client shows none; set tls.certFile and tls.keyFile (${variables}CERT_FILE, ${variables}KEY_FILE)`;
}
