import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';

import { Code, TenonError, textOf } from '../errors/errors.ts';
import { packageMissing } from '../errors/package-missing.ts';
import type { ConnectionCredentials } from '../tls/connection.ts';
import type { ConnectionTlsOptions } from '../tls/tls.ts';
import type { ExecPlugin } from './exec-credentials.ts';

/** Where an API server is, and who connects. */
export interface ClusterAccess {
  /** `https://10.0.0.1:6443`, or a list of addresses with a scheme in front. */
  readonly server: string;
  /** @default those that Node trusts */
  readonly tls?: ConnectionTlsOptions | undefined;
  readonly credentials?: ConnectionCredentials | undefined;
  /** A program that gives the token. */
  readonly exec?: ExecPlugin | undefined;
  readonly namespace?: string | undefined;
}

type Fields = Readonly<Record<string, unknown>>;

/** Fields of a user that are not supported, each with the remedy. */
const refused: Readonly<Record<string, string>> = {
  'auth-provider': 'Kubernetes 1.26 removed it: use an exec plugin, a token or a client certificate',
  username: 'Kubernetes 1.19 removed passwords: use a token or a client certificate',
  as: 'impersonation is not supported: connect as the user',
};

/**
 * Reads kubeconfig files: JSON, or YAML with the package `yaml`. Of several, the first that says a thing counts, as
 * with kubectl. Throws FAILED_PRECONDITION (`kubernetes.invalid_config`) for what is missing or not supported, and
 * (`app.package_missing`) for YAML without the package.
 */
export async function readKubeconfig(paths: readonly string[], context?: string): Promise<ClusterAccess> {
  const files: { readonly path: string; readonly config: Fields }[] = [];
  for (const path of paths) files.push({ path, config: await configIn(path) });
  const shown = paths.join(', ');
  const name =
    context ?? textIn(files.find(({ config }) => textIn(config['current-context']))?.config['current-context']);
  if (name === undefined) throw invalid(shown, 'it has no current-context: choose one (TENON_KUBERNETES_CONTEXT)');
  const named = (
    list: string,
    one: string | undefined,
    of: string,
  ): { readonly path: string; readonly fields: Fields } => {
    for (const { path, config } of files) {
      const entries = Array.isArray(config[list]) ? (config[list] as unknown[]).map(fieldsOf) : [];
      const found = entries.find((entry) => entry['name'] === one);
      if (found) return { path, fields: fieldsOf(found[of]) };
    }
    throw invalid(shown, `it has no ${of} "${one ?? ''}"`);
  };
  const chosen = named('contexts', name, 'context').fields;
  const cluster = named('clusters', textIn(chosen['cluster']), 'cluster');
  const userName = textIn(chosen['user']);
  const user = userName === undefined ? { path: cluster.path, fields: {} } : named('users', userName, 'user');
  return {
    ...clusterOf(cluster.path, cluster.fields),
    ...userOf(user.path, user.fields, tlsOf(cluster, user)),
    namespace: textIn(chosen['namespace']),
  };
}

async function configIn(path: string): Promise<Fields> {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw invalid(path, `it cannot be read (${textOf(error)}): KUBECONFIG says where it is`, error);
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    const { parse } = await loadYaml();
    try {
      value = parse(text, { logLevel: 'error', maxAliasCount: 100 });
    } catch (error) {
      throw invalid(path, `it is neither JSON nor YAML: ${textOf(error).split('\n')[0]}`);
    }
  }
  if (typeof value !== 'object' || value === null) throw invalid(path, 'it holds no configuration');
  return fieldsOf(value);
}

function clusterOf(path: string, cluster: Fields): Pick<ClusterAccess, 'server'> {
  const server = textIn(cluster['server']);
  if (server === undefined) throw invalid(path, 'its cluster has no server');
  if (textIn(cluster['proxy-url']) !== undefined) throw invalid(path, 'proxy-url is not supported');
  return { server };
}

interface Entry {
  readonly path: string;
  readonly fields: Fields;
}

function tlsOf(cluster: Entry, user: Entry): ConnectionTlsOptions {
  const serverName = textIn(cluster.fields['tls-server-name']);
  return {
    ...pem(cluster, 'certificate-authority', 'ca'),
    ...pem(user, 'client-certificate', 'cert'),
    ...pem(user, 'client-key', 'key'),
    ...(serverName !== undefined && { serverName }),
    ...(cluster.fields['insecure-skip-tls-verify'] === true && { insecureSkipVerify: true }),
  };
}

/** A field that is a file, or its contents in base64, which are stronger. */
function pem({ path, fields }: Entry, name: string, option: 'ca' | 'cert' | 'key'): ConnectionTlsOptions {
  const data = textIn(fields[`${name}-data`]);
  if (data !== undefined) return { [option]: Buffer.from(data, 'base64').toString() };
  const file = textIn(fields[name]);
  return file === undefined ? {} : { [`${option}File`]: besides(path, file) };
}

function userOf(
  path: string,
  user: Fields,
  tls: ConnectionTlsOptions,
): Pick<ClusterAccess, 'tls' | 'credentials' | 'exec'> {
  for (const [field, remedy] of Object.entries(refused)) {
    if (user[field] !== undefined && user[field] !== null) throw invalid(path, `its user has ${field}. ${remedy}`);
  }
  const [token, tokenFile] = [textIn(user['token']), textIn(user['tokenFile'])];
  // As in client-go: a file, which may change, is stronger than what was in it once.
  if (tokenFile !== undefined) return { tls, credentials: { tokenFile: besides(path, tokenFile) } };
  if (token !== undefined) return { tls, credentials: { token } };
  const exec = user['exec'] === undefined || user['exec'] === null ? undefined : execOf(path, fieldsOf(user['exec']));
  return { tls, exec };
}

function execOf(path: string, exec: Fields): ExecPlugin {
  const [apiVersion, command] = [textIn(exec['apiVersion']), textIn(exec['command'])];
  if (apiVersion === undefined || command === undefined) throw invalid(path, 'its exec needs apiVersion and command');
  const env = Array.isArray(exec['env']) ? (exec['env'] as unknown[]).map(fieldsOf) : [];
  return {
    apiVersion,
    // One with a slash is a file beside the kubeconfig, another is found on the PATH.
    command: command.includes('/') ? besides(path, command) : command,
    args: Array.isArray(exec['args']) ? exec['args'].map(String) : [],
    env: Object.fromEntries(env.map(({ name, value }) => [String(name), String(value)])),
    installHint: textIn(exec['installHint']),
  };
}

function besides(path: string, file: string): string {
  return resolve(dirname(path), file);
}

function fieldsOf(value: unknown): Fields {
  return typeof value === 'object' && value !== null ? (value as Fields) : {};
}

function textIn(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}

/** FAILED_PRECONDITION (`kubernetes.invalid_config`): a kubeconfig, or what stands in for it, cannot be used. */
export function invalid(path: string, why: string, cause?: unknown): TenonError {
  return new TenonError({
    code: Code.FailedPrecondition,
    reason: 'kubernetes.invalid_config',
    message: `the kubeconfig ${path} cannot be used: ${why}`,
    cause,
  });
}

async function loadYaml(): Promise<typeof import('yaml')> {
  try {
    return await import('yaml');
  } catch (error) {
    throw packageMissing('a kubeconfig in YAML', 'yaml', error);
  }
}
