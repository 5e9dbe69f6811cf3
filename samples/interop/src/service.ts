import { Broker, Logger, run, type System } from 'tenon';

import { type Env, goMicroBroker, integer, program, SettingsError, tenonEnv } from './settings.ts';
import { ServerId, TestService } from './test-service.ts';

await program(async () => serve(process.env));

/** Serves until SIGTERM or SIGINT. */
async function serve(env: Env): Promise<void> {
  const nodeId = env['NODE_ID'] ?? crypto.randomUUID();
  const port = integer(env, 'PORT');
  if (port === undefined) throw new SettingsError('PORT is not set: say where to listen, 0 for any free port');
  const host = env['HOST'] ?? '127.0.0.1';
  const settings = tenonEnv(env, {
    TENON_SERVER_ADDRESS: `${host.includes(':') ? `[${host}]` : host}:${port}`,
    TENON_SERVER_ID: nodeId,
    TENON_SERVER_NAME: env['SERVICE_NAME'],
    TENON_TLS_CERT_FILE: env['TLS_CERT'],
    TENON_TLS_KEY_FILE: env['TLS_KEY'],
    TENON_TLS_CA_FILE: env['TLS_CLIENT_CA'],
    TENON_TLS_CLIENT_AUTH: env['TLS_CLIENT_CA'] ? 'require' : undefined,
    TENON_MAX_RECEIVE_BYTES: integer(env, 'MAX_RECV_BYTES'),
    TENON_DRAIN_TIMEOUT_MS: integer(env, 'DRAIN_MS') ?? '10000',
    TENON_LAME_DUCK_MS: integer(env, 'LAME_DUCK_MS') ?? '0',
    TENON_REGISTER_TTL_MS: integer(env, 'REGISTER_TTL_MS') ?? '5000',
    TENON_REGISTER_INTERVAL_MS: integer(env, 'REGISTER_INTERVAL_MS') ?? '2000',
  });
  const bindBroker = goMicroBroker(env);
  await run(TestService, {
    env: settings,
    bind: (container) => {
      bindBroker(container);
      container.bind(ServerId).toConstantValue(nodeId);
    },
    onStarted: async (system) => {
      if (env['GATEWAY_PORT']) system.get(Logger).warn('GATEWAY_PORT is not used: there is no gateway yet');
      for (const service of system.services) print({ event: 'serving', address: service.server().address });
      await subscribe(system, env);
    },
  });
}

/** Prints every event of the topics, whatever its bytes are: so it takes them from the broker itself. */
async function subscribe(system: System, env: Env): Promise<void> {
  const topics = (env['SUBSCRIBE'] ?? '').split(',').filter((topic) => topic !== '');
  if (topics.length === 0) return;
  const queue = env['QUEUE'] ? { queue: env['QUEUE'] } : {};
  const broker = system.get(Broker);
  await broker.connect();
  for (const topic of topics) {
    await broker.subscribe(
      topic,
      async (event) => {
        print({ event: 'message', topic, headers: event.headers, body: Buffer.from(event.body).toString('base64') });
        await event.ack();
      },
      queue,
    );
  }
  print({ event: 'subscribed' });
}

function print(line: object): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}
