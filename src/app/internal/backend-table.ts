import { libraryFor } from '../../kafka/library.ts';
import {
  backend,
  type BackendRoom,
  type BackendRow,
  type BackendSettings,
  type BackendVariable,
} from './backend-row.ts';

/** All backends that can be chosen by name, by room. */
export const backendRows: Readonly<Record<BackendRoom, readonly BackendRow[]>> = {
  transport: [
    {
      name: 'grpc',
      summary: 'native gRPC: any gRPC client and server in any language; written on node:http2',
      load: async () => {
        const { GrpcTransport, GrpcTransportOptions } = await import('../../transport/grpc.ts');
        return backend(GrpcTransport, GrpcTransportOptions);
      },
    },
    {
      name: 'grpc-js',
      summary: 'the same by @grpc/grpc-js, with its channel options, and less of what gRPC can',
      package: '@grpc/grpc-js',
      load: async () => {
        const { GrpcJsTransport, GrpcJsTransportOptions } = await import('../../transport/grpc-js.ts');
        return backend(GrpcJsTransport, GrpcJsTransportOptions);
      },
    },
    {
      name: 'memory',
      summary: 'calls within the process, without sockets; what tests use',
      load: async () => {
        const { MemoryTransport, MemoryTransportOptions } = await import('../../transport/memory.ts');
        return backend(MemoryTransport, MemoryTransportOptions);
      },
    },
    {
      name: 'tcp',
      summary: 'frames of our own between programs on tenon: many calls over one connection, as docs/wire.md says',
      load: async () => {
        const { TcpTransport, TcpTransportOptions } = await import('../../transport/tcp.ts');
        return backend(TcpTransport, TcpTransportOptions);
      },
    },
    {
      name: 'unix',
      summary: 'the same over a Unix socket, within one machine',
      load: async () => {
        const { UnixTransport, UnixTransportOptions } = await import('../../transport/unix.ts');
        return backend(UnixTransport, UnixTransportOptions);
      },
    },
    {
      name: 'nats',
      summary: 'the same through a server of NATS: processes need a way to it, and none to each other',
      server: 'nats',
      takesAddress: true,
      load: async (settings) => {
        const { NatsTransport, NatsTransportOptions } = await import('../../transport/nats.ts');
        return backend(NatsTransport, NatsTransportOptions, settings);
      },
    },
  ],
  codec: [
    {
      name: 'proto',
      summary: 'protobuf by a `.proto`, loaded at start; plain objects, no code generation',
      package: 'protobufjs',
      load: async () => ({ implementation: (await import('../../codec/proto.ts')).ProtoMarshaler }),
    },
    {
      name: 'json',
      summary: 'JSON; proto3 JSON where a method has a `.proto`',
      load: async () => ({ implementation: (await import('../../codec/json.ts')).JsonMarshaler }),
    },
    {
      name: 'msgpack',
      summary: 'MessagePack: what JSON can say, and bytes and 64-bit integers besides',
      load: async () => ({ implementation: (await import('../../codec/msgpack.ts')).MsgpackMarshaler }),
    },
    {
      name: 'cbor',
      summary: 'CBOR, the same for those who speak it',
      load: async () => ({ implementation: (await import('../../codec/cbor.ts')).CborMarshaler }),
    },
    {
      name: 'bytes',
      summary: 'bytes as they are',
      load: async () => ({ implementation: (await import('../../codec/bytes.ts')).BytesMarshaler }),
    },
  ],
  registry: [
    {
      name: 'memory',
      summary: 'within the process',
      load: async () => {
        const { MemoryRegistry, MemoryRegistryOptions } = await import('../../registry/memory.ts');
        return backend(MemoryRegistry, MemoryRegistryOptions);
      },
    },
    {
      name: 'mdns',
      summary: "multicast DNS in Go Micro's record format: nothing to install",
      package: 'dns-packet',
      variables: [
        {
          name: 'TENON_MDNS_INTERFACE',
          option: 'interface',
          describes: 'Address of the one network interface that mDNS speaks on. Default: all of them.',
          kind: 'text',
          example: '127.0.0.1',
        },
        {
          name: 'TENON_MDNS_PORT',
          option: 'port',
          describes: 'Port of mDNS. Default: 5353.',
          kind: 'integer',
          unit: '',
          min: 1,
          max: 65_535,
          example: '5353',
        },
      ],
      load: async (settings) => {
        const { MdnsRegistry, MdnsRegistryOptions } = await import('../../registry/mdns.ts');
        return backend(MdnsRegistry, MdnsRegistryOptions, settings);
      },
    },
    {
      name: 'redis',
      summary: 'Redis, by a key with a lease per node',
      package: 'ioredis',
      server: 'redis',
      takesAddress: true,
      load: async (settings) => {
        const { RedisRegistry, RedisRegistryOptions } = await import('../../registry/redis.ts');
        return backend(RedisRegistry, RedisRegistryOptions, withRedisUrl(settings));
      },
    },
    {
      name: 'etcd',
      summary: "etcd in Go Micro's layout, by a key with a lease per node",
      server: 'etcd',
      takesAddress: true,
      load: async (settings) => {
        const { EtcdRegistry, EtcdRegistryOptions } = await import('../../registry/etcd.ts');
        return backend(EtcdRegistry, EtcdRegistryOptions, settings);
      },
    },
    {
      name: 'consul',
      summary: 'Consul, by its HTTP API, a service and a TTL check per node as Go Micro has them',
      server: 'consul',
      takesAddress: true,
      variables: [
        {
          name: 'TENON_CONSUL_DATACENTER',
          option: 'datacenter',
          describes: "Datacentre in which services are found. Default: the agent's.",
          kind: 'text',
          example: 'dc1',
        },
        {
          name: 'TENON_CONSUL_NAMESPACE',
          option: 'namespace',
          describes: "Namespace of Consul Enterprise. Default: the token's.",
          kind: 'text',
          example: 'payments',
        },
        {
          name: 'TENON_CONSUL_PARTITION',
          option: 'partition',
          describes: "Admin partition of Consul Enterprise. Default: the agent's.",
          kind: 'text',
          example: 'eu',
        },
      ],
      load: async (settings) => {
        const { ConsulRegistry, ConsulRegistryOptions } = await import('../../registry/consul.ts');
        return backend(ConsulRegistry, ConsulRegistryOptions, settings);
      },
    },
    {
      name: 'zookeeper',
      summary: "ZooKeeper, by an ephemeral node per node in Go Micro's layout",
      server: 'zookeeper',
      takesAddress: true,
      load: async (settings) => {
        const { ZooKeeperRegistry, ZooKeeperRegistryOptions } = await import('../../registry/zookeeper.ts');
        return backend(ZooKeeperRegistry, ZooKeeperRegistryOptions, settings);
      },
    },
    {
      name: 'nats',
      summary: "NATS as Go Micro's registry uses it: processes ask each other, and nothing is stored",
      server: 'nats',
      takesAddress: true,
      variables: [
        {
          name: 'TENON_NATS_PREFIXES',
          option: 'prefixes',
          describes:
            'Beginnings of the subjects of the registry. Default: those of Go Micro, micro.nats,micro.registry.nats.',
          kind: 'text',
          example: 'shop.registry',
        },
      ],
      load: async (settings) => {
        const { NatsRegistry, NatsRegistryOptions } = await import('../../registry/nats.ts');
        return backend(NatsRegistry, NatsRegistryOptions, settings);
      },
    },
    {
      name: 'kubernetes',
      summary: 'EndpointSlices of a Kubernetes cluster, by its API; services register by slices with a lease',
      optionalPackage: 'yaml',
      server: 'kubernetes',
      takesAddress: true,
      variables: [
        {
          name: 'TENON_KUBERNETES_NAMESPACE',
          option: 'namespace',
          describes: 'Namespace of the EndpointSlices. Default: that of the credentials.',
          kind: 'text',
          example: 'default',
        },
        {
          name: 'TENON_KUBERNETES_LABEL_SELECTOR',
          option: 'labelSelector',
          describes: 'Labels that EndpointSlices must have. Default: none.',
          kind: 'text',
          example: 'app.kubernetes.io/part-of=shop',
        },
        {
          name: 'TENON_KUBERNETES_PORT_NAME',
          option: 'portName',
          describes: 'Name of the port of endpoints. Default: a port of gRPC, or the only one.',
          kind: 'text',
          example: 'grpc',
        },
        {
          name: 'TENON_KUBERNETES_DIALECT',
          option: 'dialect',
          describes: "Whether Go Micro's services are found in annotations of pods, and find those that register.",
          kind: 'choice',
          choices: () => ['native', 'go-micro'],
          fallback: 'native',
        },
        {
          name: 'TENON_KUBERNETES_POD_NAME',
          option: 'podName',
          describes: 'Name of the pod of this process, for the dialect go-micro. Default: the name of the host.',
          kind: 'text',
          example: 'greeter-6cc7848c6-4knrm',
        },
        {
          name: 'TENON_KUBERNETES_CONTEXT',
          option: 'context',
          describes: 'Context of the kubeconfig. Default: its current-context.',
          kind: 'text',
          example: 'staging',
        },
        {
          name: 'KUBECONFIG',
          option: 'kubeconfig',
          describes: 'Paths of kubeconfig files. Default: the service account of the pod, or ~/.kube/config.',
          kind: 'text',
          example: '/etc/tenon/kubeconfig',
        },
        {
          name: 'KUBERNETES_SERVICE_HOST',
          option: 'serviceHost',
          describes: 'Host of the API server, as Kubernetes sets it in every pod.',
          kind: 'text',
          example: '10.96.0.1',
        },
        {
          name: 'KUBERNETES_SERVICE_PORT',
          option: 'servicePort',
          describes: 'Its port. Default: 443.',
          kind: 'integer',
          unit: '',
          min: 1,
          max: 65_535,
          example: '443',
        },
      ],
      load: async (settings) => {
        const { KubernetesRegistry, KubernetesRegistryOptions } = await import('../../registry/kubernetes.ts');
        return backend(KubernetesRegistry, KubernetesRegistryOptions, settings);
      },
    },
    {
      name: 'file',
      summary: 'a file in JSON or YAML, read again when it changes; it only finds services',
      optionalPackage: 'yaml',
      takesAddress: true,
      load: async (settings) => {
        const { FileRegistry, FileRegistryOptions } = await import('../../registry/file.ts');
        return backend(FileRegistry, FileRegistryOptions, settings);
      },
    },
    {
      name: 'dns',
      summary: "SRV records or addresses in DNS, as Kubernetes' and Consul's; it only finds services",
      server: 'coredns',
      takesAddress: true,
      variables: [
        {
          name: 'TENON_DNS_DOMAIN',
          option: 'domain',
          describes: 'Domain in which DNS has the services. Default: the search list of the system.',
          kind: 'text',
          example: 'default.svc.cluster.local',
        },
        {
          name: 'TENON_DNS_PATTERN',
          option: 'pattern',
          describes: 'Name to look up for a service. Default: _grpc._tcp.{service}, or {service} with a port of nodes.',
          kind: 'text',
          example: '_grpc._tcp.{service}',
        },
        {
          name: 'TENON_DNS_NODE_PORT',
          option: 'port',
          describes: 'Port of all nodes: with it DNS is asked for addresses, and for SRV records without it.',
          kind: 'integer',
          unit: '',
          min: 1,
          max: 65_535,
          example: '50051',
        },
      ],
      load: async (settings) => {
        const { DnsRegistry, DnsRegistryOptions } = await import('../../registry/dns.ts');
        return backend(DnsRegistry, DnsRegistryOptions, settings);
      },
    },
  ],
  selector: [
    {
      name: 'random',
      summary: 'any node that serves, by chance',
      load: async (settings) => {
        const { RandomSelector, RandomSelectorOptions } = await import('../../selector/random.ts');
        return backend(RandomSelector, RandomSelectorOptions, settings);
      },
    },
    {
      name: 'round-robin',
      summary: 'the nodes that serve, one after the other',
      load: async (settings) => {
        const { RoundRobinSelector, RoundRobinSelectorOptions } = await import('../../selector/round-robin.ts');
        return backend(RoundRobinSelector, RoundRobinSelectorOptions, settings);
      },
    },
    {
      name: 'least-request',
      summary: 'of two nodes that are drawn, the one with fewer calls in flight',
      load: async (settings) => {
        const { LeastRequestSelector, LeastRequestSelectorOptions } = await import('../../selector/least-request.ts');
        return backend(LeastRequestSelector, LeastRequestSelectorOptions, settings);
      },
    },
    {
      name: 'peak-ewma',
      summary: 'of two nodes that are drawn, the one whose calls in flight will be over sooner, by its latencies',
      load: async (settings) => {
        const { PeakEwmaSelector, PeakEwmaSelectorOptions } = await import('../../selector/peak-ewma.ts');
        return backend(PeakEwmaSelector, PeakEwmaSelectorOptions, settings);
      },
    },
    {
      name: 'weighted',
      summary: 'the nodes that serve in turn, each as often as its weight or its load reports say',
      load: async (settings) => {
        const { WeightedSelector, WeightedSelectorOptions } = await import('../../selector/weighted.ts');
        return backend(WeightedSelector, WeightedSelectorOptions, settings);
      },
    },
    {
      name: 'consistent-hash',
      summary: 'the same node for calls with the same key, with bounded loads',
      load: async (settings) => {
        const { ConsistentHashSelector, ConsistentHashSelectorOptions } =
          await import('../../selector/consistent-hash.ts');
        return backend(ConsistentHashSelector, ConsistentHashSelectorOptions, settings);
      },
    },
  ],
  broker: [
    {
      name: 'memory',
      summary: 'within the process; events live as long as it',
      load: async () => {
        const { MemoryBroker, MemoryBrokerOptions } = await import('../../broker/memory.ts');
        return backend(MemoryBroker, MemoryBrokerOptions);
      },
    },
    {
      name: 'redis',
      summary: 'Redis pub/sub: quick, and an event without a listener is gone',
      package: 'ioredis',
      server: 'redis',
      takesAddress: true,
      load: async (settings) => {
        const { RedisBroker, RedisBrokerOptions } = await import('../../broker/redis.ts');
        return backend(RedisBroker, RedisBrokerOptions, withRedisUrl(settings));
      },
    },
    {
      name: 'redis-streams',
      summary: 'Redis Streams: groups, acknowledgement, and redelivery of what a dead consumer left',
      package: 'ioredis',
      server: 'redis',
      takesAddress: true,
      load: async (settings) => {
        const { RedisStreamsBroker, RedisStreamsBrokerOptions } = await import('../../broker/redis-streams.ts');
        return backend(RedisStreamsBroker, RedisStreamsBrokerOptions, withRedisUrl(settings));
      },
    },
    {
      name: 'nats',
      summary: 'subjects and queue groups of NATS: quick, and an event without a listener is gone',
      package: '@nats-io/transport-node',
      server: 'nats',
      takesAddress: true,
      load: async (settings) => {
        const { NatsBroker, NatsBrokerOptions } = await import('../../broker/nats.ts');
        return backend(NatsBroker, NatsBrokerOptions, settings);
      },
    },
    {
      name: 'nats-jetstream',
      summary: 'NATS JetStream: groups, acknowledgement, and redelivery of what a dead consumer left',
      package: '@nats-io/jetstream',
      optionalPackage: '@nats-io/transport-node',
      server: 'nats-jetstream',
      takesAddress: true,
      load: async (settings) => {
        const { NatsJetStreamBroker, NatsJetStreamBrokerOptions } = await import('../../broker/nats-jetstream.ts');
        return backend(NatsJetStreamBroker, NatsJetStreamBrokerOptions, settings);
      },
    },
    {
      name: 'rabbitmq',
      summary: 'RabbitMQ: a topic exchange, with quorum queues for groups, confirms and acknowledgement',
      package: 'amqplib',
      server: 'rabbitmq',
      takesAddress: true,
      variables: [
        {
          name: 'TENON_RABBITMQ_VHOST',
          option: 'vhost',
          describes: 'Virtual host of RabbitMQ. Default: that of the address, or /.',
          kind: 'text',
          example: 'shop',
        },
        {
          name: 'TENON_RABBITMQ_QUEUE_TYPE',
          option: 'queueType',
          describes: 'Kind of the queues of groups in RabbitMQ.',
          kind: 'choice',
          choices: () => ['quorum', 'classic'],
          fallback: 'quorum',
        },
      ],
      load: async (settings) => {
        const { RabbitMqBroker, RabbitMqBrokerOptions } = await import('../../broker/rabbitmq.ts');
        return backend(RabbitMqBroker, RabbitMqBrokerOptions, settings);
      },
    },
    {
      name: 'kafka',
      summary: 'Kafka: groups that share partitions, order by key, and events that are kept for later readers',
      get package() {
        return libraryFor();
      },
      server: 'kafka',
      takesAddress: true,
      variables: [
        {
          name: 'TENON_KAFKA_PARTITIONS',
          option: 'partitions',
          describes: 'Partitions of the topics that are created. Default: as many as the server gives new ones.',
          kind: 'integer',
          unit: '',
          min: 1,
          example: '6',
        },
        {
          name: 'TENON_KAFKA_CREATE_TOPICS',
          option: 'createTopics',
          describes: 'Creates topics that are not there.',
          kind: 'boolean',
          fallback: 'true',
        },
        {
          name: 'TENON_KAFKA_SASL',
          option: 'sasl',
          describes: 'How user name and password are proved to Kafka.',
          kind: 'choice',
          choices: () => ['PLAIN', 'SCRAM-SHA-256', 'SCRAM-SHA-512'],
          fallback: 'PLAIN',
        },
      ],
      load: async (settings) => {
        const { KafkaBroker, KafkaBrokerOptions } = await import('../../broker/kafka.ts');
        return backend(KafkaBroker, KafkaBrokerOptions, settings);
      },
    },
    {
      name: 'mqtt',
      summary: 'MQTT 5 or 3.1.1: acknowledged events, and queues whose members come back under their names',
      package: 'mqtt',
      server: 'mosquitto',
      takesAddress: true,
      variables: [
        {
          name: 'TENON_MQTT_CLIENT_ID',
          option: 'clientId',
          describes:
            'Name of this process for the broker, the same after each start. With it events are stored for queues.',
          kind: 'text',
          example: 'orders-0',
        },
        {
          name: 'TENON_MQTT_VERSION',
          option: 'version',
          describes: 'Version of MQTT that the broker is spoken to in.',
          kind: 'choice',
          choices: () => ['5', '3.1.1'],
          fallback: '5',
        },
      ],
      load: async (settings) => {
        const { MqttBroker, MqttBrokerOptions } = await import('../../broker/mqtt.ts');
        return backend(MqttBroker, MqttBrokerOptions, settings);
      },
    },
  ],
};

/** The row of a backend; `undefined` for a backend of the application. */
export function backendRow(room: BackendRoom, name: string): BackendRow | undefined {
  return backendRows[room].find((row) => row.name === name);
}

/** All variables of backends, each once. */
export const backendVariables: readonly BackendVariable[] = [
  ...new Map(
    Object.values(backendRows)
      .flat()
      .flatMap(({ variables = [] }) => variables.map((variable) => [variable.name, variable] as const)),
  ).values(),
];

/**
 * Makes the address a Redis URL again if it has a password or a database, which a value `redis-streams://…` may carry.
 */
function withRedisUrl(settings: BackendSettings): BackendSettings {
  const { address } = settings;
  const isUrl = address !== undefined && /[@/]/.test(address) && !address.includes('://');
  return isUrl ? { ...settings, address: `redis://${address}` } : settings;
}
