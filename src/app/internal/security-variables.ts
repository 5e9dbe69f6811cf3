import type { ConnectionCredentials, ConnectionSecurityOptions } from '../../tls/connection.ts';
import type { ConnectionTlsOptions } from '../../tls/tls.ts';
import type { AddressedRoom } from './backend-row.ts';
import type { Parsed, Variable } from './variables.ts';

type VariableOf<Option extends string> = Omit<Variable, 'name'> & { readonly option: Option; readonly name: string };

const text = { kind: 'text' } as const;
const boolean = { kind: 'boolean' } as const;

/** Of `tls`; their names go on after `TENON_REGISTRY_`, and `{}` stands for the server. */
const ofTls: readonly VariableOf<keyof ConnectionTlsOptions>[] = [
  {
    name: 'TLS_CA_FILE',
    option: 'caFile',
    describes: 'Certificates of the authorities that {} is trusted by, in PEM. Default: those that Node trusts.',
    ...text,
    example: '/etc/tls/ca.crt',
  },
  {
    name: 'TLS_CERT_FILE',
    option: 'certFile',
    describes: 'Certificate that {} is shown where it asks for one, in PEM. Read again when it changes.',
    ...text,
    example: '/etc/tls/tls.crt',
  },
  {
    name: 'TLS_KEY_FILE',
    option: 'keyFile',
    describes: 'The private key of that certificate, in PEM.',
    ...text,
    example: '/etc/tls/tls.key',
  },
  {
    name: 'TLS_SERVER_NAME',
    option: 'serverName',
    describes: 'Name that the certificate of {} must be for. Default: the host of its address.',
    ...text,
    example: 'redis.internal',
  },
  {
    name: 'TLS_INSECURE_SKIP_VERIFY',
    option: 'insecureSkipVerify',
    describes: 'Whether {} may show any certificate: then it may be anybody. For a laptop.',
    ...boolean,
    example: 'false',
  },
];

/** Of `credentials`, likewise. */
const ofCredentials: readonly VariableOf<keyof ConnectionCredentials>[] = [
  {
    name: 'USERNAME',
    option: 'username',
    describes: 'User name that {} knows this process by.',
    ...text,
    example: 'tenon',
  },
  { name: 'PASSWORD', option: 'password', describes: 'Password for {}. A file is safer.', ...text, example: '…' },
  {
    name: 'PASSWORD_FILE',
    option: 'passwordFile',
    describes: 'File with the password for {}; read for every new connection.',
    ...text,
    example: '/run/secrets/password',
  },
  { name: 'TOKEN', option: 'token', describes: 'Token for {}. A file is safer.', ...text, example: '…' },
  {
    name: 'TOKEN_FILE',
    option: 'tokenFile',
    describes: 'File with the token for {}; read for every new connection.',
    ...text,
    example: '/run/secrets/token',
  },
];

/** The variables of the protection of one room's connections. A backend that does not take one refuses the start. */
export function securityVariables(room: AddressedRoom): readonly Variable[] {
  const prefix = prefixOf(room);
  const server = `the server of the ${room}`;
  return [
    {
      name: `${prefix}TLS`,
      describes: `Whether ${server} is spoken to over TLS. Default: true if one of the next five is set.`,
      ...boolean,
      example: 'true',
    },
    ...[...ofTls, ...ofCredentials].map(({ name, option: _, describes, ...variable }) => ({
      ...variable,
      name: prefix + name,
      describes: describes.replace('{}', server),
    })),
  ];
}

/** Reads TLS and credentials from the variables that are set; `undefined` if none is. */
export function securityOf(
  room: AddressedRoom,
  said: ReadonlyMap<string, Parsed>,
): ConnectionSecurityOptions | undefined {
  const prefix = prefixOf(room);
  const tls = optionsIn(ofTls, prefix, said);
  const credentials = optionsIn(ofCredentials, prefix, said);
  const isTls = said.get(`${prefix}TLS`) ?? tls !== undefined;
  if (isTls !== true && credentials === undefined) return undefined;
  return { ...(isTls === true && { tls: tls ?? {} }), ...(credentials && { credentials }) };
}

/** The variables that were set, of those that say an option as {@link untakenSecurity} names it, or any of it. */
export function variablesOf(room: AddressedRoom, option: string, stated: readonly string[]): readonly string[] {
  const prefix = prefixOf(room);
  const names =
    option === 'tls'
      ? ['TLS', ...ofTls.map(({ name }) => name)]
      : ofCredentials
          .filter((one) => option === 'credentials' || option === `credentials.${one.option}`)
          .map(({ name }) => name);
  return names.map((name) => prefix + name).filter((name) => stated.includes(name));
}

/** The schemes of addresses that ask for TLS, each with the one that does not. */
const tlsSchemes: Readonly<Record<string, string>> = { rediss: 'redis', amqps: 'amqp', mqtts: 'mqtt' };

/** True if an address asks for TLS by its scheme. */
export function asksForTls(address: unknown): boolean {
  return tlsSchemeOf(address) !== undefined;
}

/** The scheme of an address that asks for TLS, and the one that does not; `undefined` for other addresses. */
export function tlsSchemeOf(address: unknown): { readonly secure: string; readonly plain: string } | undefined {
  const [, secure = ''] = (typeof address === 'string' && /^(\w+):\/\//.exec(address.toLowerCase())) || [];
  const plain = Object.hasOwn(tlsSchemes, secure) ? tlsSchemes[secure] : undefined;
  return plain === undefined ? undefined : { secure, plain };
}

function prefixOf(room: AddressedRoom): string {
  return `TENON_${room.toUpperCase()}_`;
}

function optionsIn(
  variables: readonly { readonly name: string; readonly option: string }[],
  prefix: string,
  said: ReadonlyMap<string, Parsed>,
): Readonly<Record<string, Parsed>> | undefined {
  const options = variables.flatMap(({ name, option }): [string, Parsed][] => {
    const value = said.get(prefix + name);
    return value === undefined ? [] : [[option, value]];
  });
  return options.length === 0 ? undefined : Object.fromEntries(options);
}
