import { inject, injectable, optional, type ServiceIdentifier } from 'inversify';

import { checkedOptions } from '../errors/checked-options.ts';
import { Code, TenonError } from '../errors/errors.ts';
import { type WithDefaults, withDefaults } from '../internal/defaults.ts';
import { maskAddress } from '../internal/mask.ts';
import { token } from '../internal/token.ts';
import { Logger } from '../logger/logger.ts';
import type { MqttConnection } from '../mqtt/connection.ts';
import type { MqttVersion } from '../mqtt/mqtt.ts';
import { MqttServers } from '../mqtt/servers.ts';
import { Clock, Random, Timers } from '../runtime/runtime.ts';
import type { Broker, BrokerCapabilities } from './broker.ts';
import type { BrokerDriver, DriverHost, ErrorMeaning, EventSink, OutgoingEvent, ReceiveRequest } from './kit/driver.ts';
import { invalidAddress, tooLarge } from './kit/failures.ts';
import { deadLetterHeader } from './kit/headers.ts';
import { NameEncoding, type WireRules } from './kit/name-encoding.ts';
import { type DriverSetup, PortableBroker, type PortableBrokerOptions } from './kit/portable-broker.ts';
import { groupRule, MqttWriter, packetBytes, wireRules } from './mqtt/messages.ts';
import { type Session, Sessions } from './mqtt/sessions.ts';
import { type MqttEvent, MqttSubscription } from './mqtt/subscription.ts';

/** Options of a {@link MqttBroker}. */
export interface MqttBrokerOptions extends PortableBrokerOptions {
  /**
   * `host:port`, several of one cluster separated by commas; with `mqtts://` before them for TLS.
   * @default '127.0.0.1:1883'
   */
  readonly address?: string | undefined;
  /**
   * Name of this process, the same after each start, and no other process's: `orders-0`. With it the server stores
   * events for the members of queues while they are away, and redelivers what they had not settled when they are back.
   * @default none: what was not handled is lost with the process
   */
  readonly clientId?: string | undefined;
  /**
   * Version of the protocol. Headers are user properties in `5`, and part of the payload in `3.1.1`.
   * @default '5'
   */
  readonly version?: MqttVersion | undefined;
  /**
   * Time for which the server stores the events of a member that is away, in milliseconds; `Infinity` for ever. It
   * decides itself in 3.1.1.
   * @default 86_400_000
   */
  readonly sessionExpiryMs?: number | undefined;
  /**
   * A server that says nothing for so long is asked, and given up after half of it without an answer, in milliseconds.
   * @default 10_000
   */
  readonly keepaliveMs?: number | undefined;
}
/** Container key of the {@link MqttBrokerOptions}. */
export const MqttBrokerOptions: ServiceIdentifier<MqttBrokerOptions> = token('broker', 'MqttBrokerOptions');

const defaults = { version: '5', sessionExpiryMs: 86_400_000, keepaliveMs: 10_000 } as const;
const defaultAddress = '127.0.0.1';
/** Time in seconds for which the sessions of subscriptions that are not stored survive an outage. */
const outageS = 300;
/** The server keeps the session without end (MQTT 5, section 3.1.2.11.2). */
const noExpiryS = 0xffff_ffff;

/**
 * Events over MQTT, acknowledged when they were handled (QoS 1). Each subscription has a connection and a session of
 * its own. A queue is a shared subscription: the server assigns each event to the session of one member, and no other
 * member gets it.
 */
@injectable()
export class MqttBroker extends PortableBroker<MqttEvent> implements Broker {
  static capabilities({ clientId }: MqttBrokerOptions = {}): BrokerCapabilities {
    const isDurable = clientId !== undefined;
    return {
      persistent: isDurable,
      ack: isDurable,
      nack: true,
      delay: true,
      groups: true,
      durableOnMemberDeath: false,
      competing: false,
      attempts: false,
      deadLetter: false,
      order: true,
      replay: false,
      wildcards: true,
      shared: true,
      tls: true,
      credentials: ['password'],
    };
  }

  constructor(
    @inject(MqttBrokerOptions) @optional() options: MqttBrokerOptions = {},
    @inject(Clock) @optional() clock?: Clock,
    @inject(Random) @optional() random?: Random,
    @inject(Timers) @optional() timers?: Timers,
    @inject(Logger) @optional() logger?: Logger,
  ) {
    checkedOptions('MqttBrokerOptions', options, { keepaliveMs: { min: 1_000, max: 65_535_000 } });
    const seams = { clock, random, timers, logger };
    super({ name: 'mqtt', options, seams, makeDriver: (setup) => new MqttDriver(options, setup) });
  }
}

/** Throws INVALID_ARGUMENT (`broker.invalid_options`) for a name that a server refuses, or may. */
function assertClientId(clientId: string | undefined): void {
  if (clientId === undefined || /^[^\p{Cc}\p{Cs}\p{Noncharacter_Code_Point}]{1,200}$/u.test(clientId)) return;
  const rule = 'give a text of 1 to 200 characters, none of them a control character';
  throw new TenonError({
    code: Code.InvalidArgument,
    reason: 'broker.invalid_options',
    message: `clientId of the broker "mqtt" is ${JSON.stringify(clientId)}: ${rule} (TENON_MQTT_CLIENT_ID)`,
  });
}

/** A driver over a server of MQTT. */
class MqttDriver implements BrokerDriver<MqttEvent> {
  readonly wildcards = { one: '+', rest: '+/#' };
  readonly #options: WithDefaults<MqttBrokerOptions, typeof defaults>;
  readonly #setup: DriverSetup;
  readonly #servers: MqttServers;
  readonly #writer: MqttWriter;
  readonly #groups = new NameEncoding(groupRule);
  readonly #sessions: Sessions;
  #wire: WireRules;
  /** The connection that publishes. */
  #main: MqttConnection | undefined;
  #lastError: unknown = new Error('the connection is lost');
  #idBase = '';
  #ids = 0;

  constructor(options: MqttBrokerOptions, setup: DriverSetup) {
    const { address = defaultAddress, security, runtime, timeoutMs } = setup;
    const all = withDefaults(defaults, options);
    const { version, keepaliveMs, clientId } = all;
    const { timers } = runtime;
    assertClientId(clientId);
    this.#options = all;
    this.#setup = setup;
    this.#servers = new MqttServers({ address, version, keepaliveMs, timeoutMs, security, timers }, () => {
      const remedy = 'write host:port, several separated by commas (TENON_BROKER_ADDRESS)';
      return invalidAddress('mqtt', maskAddress(address), remedy);
    });
    this.#writer = new MqttWriter(version);
    this.#wire = wireRules(version, undefined);
    this.#sessions = new Sessions(clientId, runtime);
  }

  get address(): string {
    return this.#servers.address;
  }

  get wire(): WireRules {
    return this.#wire;
  }

  async open(host: DriverHost): Promise<void> {
    const clientId = this.#sessions.publisherId();
    const onEnd = (error: unknown): void => {
      this.#main = undefined;
      this.#lastError = error;
      host.lost(error);
    };
    const main = await this.#servers.connectAny({ clientId, clean: true, onEnd });
    this.#main = main;
    this.#idBase = this.#setup.runtime.random.uuid();
    this.#wire = wireRules(this.#options.version, main.maxPacketBytes);
  }

  async close(): Promise<void> {
    this.#servers.close();
    const main = this.#main;
    this.#main = undefined;
    await main?.end();
  }

  publish([event]: readonly [OutgoingEvent]): Promise<unknown> {
    const main = this.#open;
    const { maxPacketBytes = Number.POSITIVE_INFINITY } = main;
    const message = this.#writer.write(event, `${this.#idBase}-${(this.#ids += 1)}`);
    const bytes = maxPacketBytes === Number.POSITIVE_INFINITY ? 0 : packetBytes(message);
    if (bytes > maxPacketBytes) throw tooLarge('mqtt', event.topic, 'an event', bytes, maxPacketBytes);
    const done = main.publish(message, (withdraw) => (event.withdraw = withdraw));
    if (event.headers[deadLetterHeader.originalTopic] === undefined) return done;
    return done.then((isStored) => {
      if (isStored) return;
      const fields = { topic: event.topic };
      this.#setup.logger.error(
        'a dead letter is lost: nobody has subscribed to its topic, and MQTT stores none',
        fields,
      );
    });
  }

  async receive(request: ReceiveRequest, sink: EventSink<MqttEvent>): Promise<MqttSubscription> {
    const main = this.#open;
    const session = this.#sessions.of(request);
    session.assertAlone(main);
    const subscription = new MqttSubscription({
      session,
      sink,
      isWatch: request.mode === 'watch',
      timers: this.#setup.runtime.timers,
      onDrop: () =>
        this.#setup.logger.warn('events of QoS 0 are dropped: the subscriber is slower than they come', {
          topic: request.topic,
        }),
      onClose: (connection) => this.#leave(session, connection),
    });
    try {
      await this.#attach(session, request, subscription, (error) => sink.fail(error));
      session.opened(main);
      return subscription;
    } catch (error) {
      if (!session.isOpen) this.#sessions.forget(request);
      throw error;
    }
  }

  forget(request: ReceiveRequest): void {
    this.#sessions.forget(request);
  }

  translate(error: unknown): ErrorMeaning {
    return this.#servers.meaningOf(error);
  }

  unwrap(): unknown {
    return this.#main?.client;
  }

  get #open(): MqttConnection {
    if (this.#main) return this.#main;
    throw this.#lastError;
  }

  /** Connects for a subscription, and subscribes. */
  async #attach(
    session: Session,
    { topic, queue, mode, maxInFlight, maxWaiting }: ReceiveRequest,
    subscription: MqttSubscription,
    onEnd: (error: unknown) => void,
  ): Promise<void> {
    const { version, sessionExpiryMs, clientId } = this.#options;
    const isWatch = mode === 'watch';
    const isNew = !session.isDurable && !session.isOpen;
    // Without MQTT 5 a session that is to last cannot begin as a new one, and one without a name would last for ever.
    const lasts = !isWatch && (version === '5' || clientId !== undefined);
    if (isNew && lasts && version === '3.1.1') await this.#endSession(session);
    let isSubscribed = false;
    const connection = await this.#servers.connect({
      clientId: session.clientId,
      clean: !lasts || (isNew && version === '5'),
      expiryS: lasts
        ? session.isDurable
          ? Math.min(noExpiryS, Math.ceil(sessionExpiryMs / 1_000))
          : outageS
        : undefined,
      receiveMaximum: Math.min(65_535, maxInFlight + maxWaiting),
      onPacket: (packet) => subscription.onPacket(packet),
      // Until then the caller hears of it.
      onEnd: (error) => (isSubscribed ? onEnd(error) : undefined),
    });
    try {
      if (session.isOpen && lasts && !connection.hasSession) {
        const fields = { topic, clientId: session.clientId };
        this.#setup.logger.warn('the server has lost a session: events that it had stored in it are gone', fields);
      }
      await connection.subscribe(queue === undefined ? topic : `$share/${this.#groups.encode(queue)}/${topic}`);
      if (connection.isEnded) throw new Error('the connection is lost');
      isSubscribed = true;
    } catch (error) {
      connection.destroy(error);
      throw error;
    }
    subscription.attach(connection);
  }

  /** Ends a subscription that is over. The session of a member of a queue goes on storing events. */
  async #leave(session: Session, connection: MqttConnection): Promise<void> {
    const { version, clientId } = this.#options;
    await (session.isDurable ? connection.end() : connection.end(0));
    if (!session.isDurable && version === '3.1.1' && clientId !== undefined) await this.#endSession(session);
  }

  /** Ends a session as is done without MQTT 5: with a connection that begins without one. */
  async #endSession({ clientId }: Session): Promise<void> {
    const connection = await this.#servers.connect({ clientId, clean: true, onEnd: () => {} });
    await connection.end();
  }
}
