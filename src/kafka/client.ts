import { textOf } from '../errors/errors.ts';
import { isError } from '../internal/is-error.ts';
import { pause } from '../runtime/bounded.ts';
import { repeatedly } from '../runtime/retrying.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { ConnectionSecurity } from '../tls/connection.ts';
import { KafkaCluster } from './cluster.ts';
import {
  faults,
  isFault,
  type KafkaAddress,
  KafkaFault,
  type KafkaLibrary,
  MissingTopicFault,
  type PartitionLeaders,
  type SaslMechanism,
} from './kafka.ts';
import { loadLibrary } from './library.ts';
import { KafkaProducer } from './producer.ts';

/** The parts of a {@link KafkaClient}. */
export interface ClientInit {
  readonly addresses: readonly KafkaAddress[];
  readonly timeoutMs: number;
  readonly runtime: Runtime;
  readonly security: ConnectionSecurity;
  readonly sasl: SaslMechanism;
  readonly createTopics: boolean;
  /** Partitions of the topics that it creates; -1 leaves their number to the server. */
  readonly partitions: number;
  /** @default the one that Node can run */
  readonly library?: KafkaLibrary | undefined;
}

/** Receives what becomes of the connection. */
export interface ClientHost {
  away(error: unknown): void;
  back(): void;
}

const watchBackoff = { initialMs: 100, maxMs: 1_000 } as const;
const topicRetryMs = 50;
const missingMs = 500;

/** Writes to topics of one cluster, creates them, and makes connections for those that read. */
export class KafkaClient {
  readonly #init: ClientInit;
  #library: KafkaLibrary | undefined;
  #main: KafkaCluster | undefined;
  #producer: KafkaProducer | undefined;
  #client: unknown;
  /** The reason for which the cluster counts as away. */
  #away: Error | undefined;
  #closing = new AbortController();

  constructor(init: ClientInit) {
    this.#init = init;
  }

  /** The object of the client library, once it was connected. */
  get library(): unknown {
    return this.#client;
  }

  /** Writes records. Throws while the cluster is away. */
  get producer(): KafkaProducer {
    if (this.#away !== undefined || !this.#producer) throw this.#away ?? lost();
    return this.#producer;
  }

  /** Connects, and asks the cluster from then on, every `timeoutMs`, whether it is there. */
  async open(host: ClientHost): Promise<void> {
    const { runtime, timeoutMs } = this.#init;
    this.#library ??= this.#init.library ?? (await loadLibrary());
    const main = this.connect();
    try {
      await main.call((connection) => connection.ping());
      this.#client = await main.client();
    } catch (error) {
      main.close();
      throw error;
    }
    this.#closing = new AbortController();
    this.#main = main;
    this.#producer = new KafkaProducer({
      cluster: main,
      runtime,
      timeoutMs,
      leaders: (topic) => this.leaders(topic),
    });
    void this.#watchOver(main, host, this.#closing.signal);
  }

  close(): void {
    this.#closing.abort();
    this.#main?.close();
    this.#main = undefined;
    this.#producer = undefined;
    this.#away = undefined;
  }

  /** Makes connections of their own. The caller closes them. */
  connect(): KafkaCluster {
    const { addresses, security, timeoutMs, runtime, sasl: mechanism } = this.#init;
    if (!this.#library) throw lost();
    return new KafkaCluster({
      library: this.#library,
      addresses,
      timers: runtime.timers,
      timeoutMs,
      target: (address) => {
        const { tls, username = '', password } = security;
        const sasl = password === undefined ? undefined : { mechanism, username, password };
        return { ...address, clientId: 'tenon', timeoutMs, tls, sasl };
      },
    });
  }

  /**
   * The leaders of a topic, which is created if it is not there. Tried for `timeoutMs` while there are none, and for a
   * moment if it may not be created: a server that has just started may not know it yet.
   */
  async leaders(topic: string): Promise<PartitionLeaders> {
    const { runtime, timeoutMs, createTopics } = this.#init;
    const untilMs = runtime.clock.monotonicMs() + timeoutMs;
    for (;;) {
      const main = this.#main;
      if (!main) throw lost();
      const leftMs = untilMs - runtime.clock.monotonicMs();
      try {
        const leaders = await main.call((connection) => connection.leaders(topic));
        const led = [...leaders.values()].filter((leader) => leader !== undefined);
        // One that has just been made has none yet. Later some may do without.
        if (led.length === leaders.size || (led.length > 0 && timeoutMs - leftMs >= missingMs)) return leaders;
        throw new KafkaFault(faults.leaderNotAvailable, `partitions of ${topic} have no leader`);
      } catch (error) {
        const isMissing = isFault(error, faults.unknownTopic);
        const isPassing = error instanceof KafkaFault && error.isPassing;
        const isLate = leftMs <= 0 || (isMissing && !createTopics && timeoutMs - leftMs >= missingMs);
        if (!(isMissing || isPassing)) throw error;
        if (isLate && isMissing && !createTopics) throw new MissingTopicFault(topic, error);
        // It is made, and Kafka is slow to say so.
        if (isLate) throw new KafkaFault(faults.leaderNotAvailable, textOf(error), { cause: error });
        if (isMissing && createTopics) await this.#create(main, topic);
      }
      await pause(runtime.timers, topicRetryMs, undefined, { keepAlive: true });
    }
  }

  /** The largest record of a topic, with all that belongs to it, in bytes; `undefined` if it cannot be found out. */
  async maxRecordBytes(topic: string): Promise<number | undefined> {
    try {
      const limit = await this.#main?.call((connection) => connection.topicConfig(topic, 'max.message.bytes'));
      return limit === undefined ? undefined : Number(limit);
    } catch {
      return undefined;
    }
  }

  async #create(main: KafkaCluster, topic: string): Promise<void> {
    const { partitions, timeoutMs } = this.#init;
    try {
      const at = await main.call((connection) => connection.controller());
      await main.call((connection) => connection.createTopic(topic, partitions, timeoutMs), { at });
    } catch (error) {
      if (!isFault(error, faults.topicExists) && !(error instanceof KafkaFault && error.isPassing)) throw error;
    }
  }

  async #watchOver(main: KafkaCluster, host: ClientHost, signal: AbortSignal): Promise<void> {
    const { runtime, timeoutMs } = this.#init;
    const work = async (): Promise<number> => {
      await main.call((connection) => connection.ping());
      if (this.#away !== undefined && !signal.aborted) {
        this.#away = undefined;
        host.back();
      }
      return timeoutMs;
    };
    const onFailure = (error: unknown): void => {
      this.#away = isError(error) ? error : lost();
      host.away(error);
    };
    await pause(runtime.timers, timeoutMs, signal);
    await repeatedly(work, { runtime, backoff: watchBackoff, signal, onFailure });
  }
}

function lost(): Error {
  return new Error('the connection is lost');
}
