// A Kubernetes API server on an etcd of its own, with a CoreDNS that answers from it: what registries see of a cluster.
// There are no nodes and no controllers.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { run } from './cleanup.js';
import { debianPackages, goProgram, hasCommand, installed, once } from './install.js';
import { answersHttp, host } from './probes.js';

/** @typedef {import('./definitions.js').ServerDefinition} ServerDefinition */

const kubernetesVersion = 'v1.37.2';
const apiserver = `kube-apiserver-${kubernetesVersion}`;
const token = 'secret-admin';
const headers = { authorization: `Bearer ${token}` };

/** The modules that Kubernetes replaces by folders of its own: v1.X.Y goes with v0.X.Y of each. */
async function stagingModules() {
  const module = `k8s.io/kubernetes@${kubernetesVersion}`;
  const { GoMod: file } = JSON.parse(await run('go', ['mod', 'download', '-json', module], '.'));
  const found = readFileSync(file, 'utf8').matchAll(/^\s*(k8s\.io\/[a-z-]+) => \.\/staging\//gm);
  return [...found].map(([, name]) => `${name}=${name}@${kubernetesVersion.replace('v1.', 'v0.')}`);
}

/**
 * The definition of the server, over those of the servers that belong to it.
 * @param {() => Readonly<Record<'etcd' | 'coredns', ServerDefinition>>} others
 * @param {Readonly<Record<'etcd' | 'coredns', string>>} programs
 * @returns {ServerDefinition}
 */
export function kubernetesServer(others, programs) {
  return {
    summary: 'a Kubernetes API server with its etcd and CoreDNS, of their Go modules; the build takes minutes',
    install: async () => {
      await debianPackages('openssl', 'openssl');
      await others().etcd.install();
      await others().coredns.install();
      await once(apiserver, buildApiserver);
    },
    isInstalled: () =>
      others().etcd.isInstalled() &&
      others().coredns.isInstalled() &&
      existsSync(installed(apiserver)) &&
      hasCommand('openssl'),
    ports: ['etcd', 'etcd-peer', 'dns', 'dns-ready'],
    prepare: async ({ port, folder, portOf }) => {
      if (!existsSync(join(folder, 'sa.key'))) await certify(folder);
      writeFileSync(join(folder, 'tokens.csv'), `${token},admin,admin,"system:masters"\n`);
      const kubeconfig = {
        apiVersion: 'v1',
        kind: 'Config',
        'current-context': 'test',
        clusters: [
          {
            name: 'test',
            cluster: {
              server: `https://${host}:${port}`,
              'certificate-authority': 'ca.crt',
            },
          },
        ],
        users: [
          {
            name: 'admin',
            user: { token },
          },
        ],
        contexts: [
          {
            name: 'test',
            context: {
              cluster: 'test',
              user: 'admin',
            },
          },
        ],
      };
      // JSON is YAML as well.
      writeFileSync(join(folder, 'kubeconfig'), JSON.stringify(kubeconfig));
      const corefile = [
        `cluster.local:${portOf('dns')} {`,
        `  bind ${host}`,
        '  errors',
        `  ready ${host}:${portOf('dns-ready')}`,
        '  kubernetes cluster.local {',
        `    kubeconfig ${join(folder, 'kubeconfig')} test`,
        '    ttl 1',
        '  }',
        '}',
      ];
      writeFileSync(join(folder, 'Corefile'), `${corefile.join('\n')}\n`);
    },
    processes: ({ port, folder, portOf }, { args = [] }) => {
      const etcd = `http://${host}:${portOf('etcd')}`;
      const peer = `http://${host}:${portOf('etcd-peer')}`;
      const url = `https://${host}:${port}`;
      const key = join(folder, 'sa.key');
      return [
        {
          name: 'etcd',
          command: programs.etcd,
          args: flags({
            name: 'test',
            'data-dir': join(folder, 'data'),
            'unsafe-no-fsync': 'true',
            'log-level': 'warn',
            'listen-client-urls': etcd,
            'advertise-client-urls': etcd,
            'listen-peer-urls': peer,
            'initial-advertise-peer-urls': peer,
            'initial-cluster': `test=${peer}`,
          }),
          isReady: () => answersHttp(`${etcd}/health`, /"health":"true"/),
        },
        {
          name: 'apiserver',
          command: installed(apiserver, 'kube-apiserver'),
          args: [
            ...flags({
              'etcd-servers': etcd,
              'bind-address': host,
              'advertise-address': host,
              'secure-port': String(port),
              'cert-dir': folder,
              'tls-cert-file': join(folder, 'api.crt'),
              'tls-private-key-file': join(folder, 'api.key'),
              'client-ca-file': join(folder, 'ca.crt'),
              'token-auth-file': join(folder, 'tokens.csv'),
              'service-account-issuer': 'https://kubernetes.default.svc',
              'service-account-key-file': key,
              'service-account-signing-key-file': key,
              'service-cluster-ip-range': '10.96.0.0/16',
              'authorization-mode': 'RBAC',
              'disable-admission-plugins': 'ServiceAccount',
              'endpoint-reconciler-type': 'none',
            }),
            ...args,
          ],
          // The namespace is made a moment after the server is ready.
          isReady: async () =>
            (await answersHttp(`${url}/readyz`, /ok/, undefined, headers)) &&
            answersHttp(`${url}/api/v1/namespaces/default`, /"default"/, undefined, headers),
        },
        {
          name: 'coredns',
          command: programs.coredns,
          args: ['-conf', join(folder, 'Corefile')],
          isReady: () => answersHttp(`http://${host}:${portOf('dns-ready')}/ready`, /OK/),
        },
      ];
    },
    details: ({ folder, portOf }) => ({
      kubeconfig: join(folder, 'kubeconfig'),
      token,
      caFile: join(folder, 'ca.crt'),
      caKeyFile: join(folder, 'ca.key'),
      dns: `${host}:${portOf('dns')}`,
      etcd: `${host}:${portOf('etcd')}`,
    }),
  };
}

/** @param {Readonly<Record<string, string>>} values */
function flags(values) {
  return Object.entries(values).map(([name, value]) => `--${name}=${value}`);
}

/** Builds the API server. */
export async function buildApiserver(/** @type {string} */ folder) {
  const source = 'k8s.io/kubernetes/cmd/kube-apiserver';
  const replacements = await stagingModules();
  await goProgram(folder, {
    name: 'kube-apiserver',
    source,
    replacements,
    modules: [`${source}@${kubernetesVersion}`],
  });
}

/** Makes the authority, the certificate of the API server, and the key that signs tokens of service accounts. */
async function certify(/** @type {string} */ folder) {
  const openssl = (/** @type {string[]} */ ...args) => run('openssl', args, folder);
  const key = ['-days', '30', '-nodes', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1'];
  await openssl('req', '-x509', ...key, '-keyout', 'ca.key', '-out', 'ca.crt', '-subj', '/CN=test-ca');
  const names = `subjectAltName=IP:${host},DNS:localhost,DNS:kubernetes.default.svc`;
  const extensions = ['-addext', names, '-addext', 'basicConstraints=critical,CA:FALSE'];
  const signed = ['-CA', 'ca.crt', '-CAkey', 'ca.key', ...key, '-subj', '/CN=kube-apiserver', ...extensions];
  await openssl('req', '-x509', ...signed, '-keyout', 'api.key', '-out', 'api.crt');
  await openssl('genrsa', '-out', 'sa.key', '2048');
}
