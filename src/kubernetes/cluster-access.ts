import { existsSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';

import { hostPort } from '../internal/host-port.ts';
import type { ConnectionSecurityOptions } from '../tls/connection.ts';
import { type ClusterAccess, invalid, readKubeconfig } from './kubeconfig.ts';

/** The ways to an API server, of which the first that is given counts. */
export interface ClusterOptions extends ConnectionSecurityOptions {
  /** `host:port`, several separated by commas, with `https://` or `http://` in front if need be. */
  readonly address?: string | undefined;
  /** Paths of kubeconfig files, separated as in `PATH`. */
  readonly kubeconfig?: string | undefined;
  /** Context of the kubeconfig. @default its current-context */
  readonly context?: string | undefined;
  /** The API server of the cluster that this process runs in. */
  readonly serviceHost?: string | undefined;
  /** @default 443 */
  readonly servicePort?: number | undefined;
  /** Folder of the token, the certificates and the namespace of a pod. */
  readonly serviceAccountFolder: string;
}

/**
 * Finds the API server and the credentials: by the kubeconfig that is given, by the pod's service account, or by
 * `~/.kube/config`. An address is stronger than the server that they name, and with an address nothing is looked for
 * that was not given. `tls` and `credentials` are stronger than theirs.
 */
export async function clusterAccess(options: ClusterOptions): Promise<ClusterAccess> {
  const { address, tls, credentials } = options;
  const found = await foundAccess(options);
  return {
    ...found,
    ...(address !== undefined && { server: /^https?:\/\//i.test(address) ? address : `https://${address}` }),
    ...(tls && { tls }),
    ...(credentials && { credentials, exec: undefined }),
  };
}

async function foundAccess(options: ClusterOptions): Promise<ClusterAccess> {
  const { address, kubeconfig, context, serviceHost, servicePort = 443, serviceAccountFolder } = options;
  if (kubeconfig !== undefined) {
    return readKubeconfig(
      kubeconfig.split(delimiter).filter((path) => path !== ''),
      context,
    );
  }
  if (address !== undefined) return { server: address };
  if (serviceHost !== undefined) return inClusterAccess(serviceHost, servicePort, serviceAccountFolder);
  const own = join(homedir(), '.kube', 'config');
  if (existsSync(own)) return readKubeconfig([own], context);
  const remedy = 'set TENON_REGISTRY_ADDRESS or KUBECONFIG: this process runs in no pod (KUBERNETES_SERVICE_HOST)';
  throw invalid(own, `there is none; ${remedy}`);
}

function inClusterAccess(host: string, port: number, folder: string): ClusterAccess {
  const namespaceFile = join(folder, 'namespace');
  return {
    server: `https://${hostPort(host, port)}`,
    tls: { caFile: join(folder, 'ca.crt') },
    credentials: { tokenFile: join(folder, 'token') },
    namespace: existsSync(namespaceFile) ? readFileSync(namespaceFile, 'utf8').trim() || undefined : undefined,
  };
}
