import type { Logger } from '../logger/logger.ts';
import type { Clock, Timers } from '../runtime/runtime.ts';
import { ConnectionSecurity, type ConnectionSecurityOptions } from '../tls/connection.ts';
import { ApiClient, type ApiCredentials } from './api-client.ts';
import { clusterAccess, type ClusterOptions } from './cluster-access.ts';
import { ExecCredentials } from './exec-credentials.ts';
import type { ApiChannel } from './kubernetes.ts';
import { ServerClock } from './server-clock.ts';

/** A cluster that was found, with connections to its API server. */
export interface Cluster {
  readonly client: ApiClient;
  readonly clock: ServerClock;
  /** The namespace of the credentials, if they have one. */
  readonly namespace: string | undefined;
  /** The address of the API server. */
  readonly server: string;
  close(): void;
}

/** Connections that a cluster is called through. */
export interface ClusterChannel extends ApiChannel {
  close(): void;
}

/** The server, the TLS and the headers of a {@link ClusterChannel}. */
export interface ChannelRequest {
  readonly server: string;
  readonly security: ConnectionSecurity;
  /** True if there are credentials, or TLS was said: nothing is sent in the clear then. */
  readonly isProtected: boolean;
}

/** Tools of {@link openCluster}. */
export interface ClusterTools {
  readonly clock: Clock;
  readonly timers: Timers;
  readonly logger: Logger;
  /** Opens connections to the server; nothing is connected yet. */
  readonly open: (request: ChannelRequest) => ClusterChannel;
}

/** Finds the API server and the credentials. Connects nothing yet. */
export async function openCluster(
  options: ClusterOptions & { readonly timeoutMs: number },
  { clock, timers, logger, open }: ClusterTools,
): Promise<Cluster> {
  const { server, tls, credentials: given, exec, namespace } = await clusterAccess(options);
  const isClear = /^http:/i.test(server);
  const protections: ConnectionSecurityOptions = { tls: isClear ? undefined : (tls ?? {}), credentials: given };
  const owner = { name: 'the kubernetes registry', variables: 'TENON_REGISTRY_' };
  const security = new ConnectionSecurity(protections, owner, { runtime: { clock, timers }, logger });
  const serverClock = new ServerClock(clock);
  const isTlsSaid = Object.values(tls ?? {}).some((value) => value !== undefined);
  const isProtected = isTlsSaid || options.tls !== undefined || security.hasCredentials || exec !== undefined;
  const channel = open({ server, security, isProtected });
  // A file of a token is read for each request.
  const ofFile: ApiCredentials = {
    token: async () => security.token,
    refused: (token) => security.token !== token,
  };
  const ofProgram = exec && new ExecCredentials(exec, serverClock, clock);
  const credentials = ofProgram ?? ofFile;
  return {
    client: new ApiClient({ channel, clock: serverClock, credentials, timeoutMs: options.timeoutMs }),
    clock: serverClock,
    namespace,
    server,
    close: () => {
      channel.close();
      ofProgram?.close();
      security.close();
    },
  };
}
