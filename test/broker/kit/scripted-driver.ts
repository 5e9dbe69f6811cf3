import type { BrokerCapabilities } from '../../../src/broker/broker.ts';
import {
  type BrokerDriver,
  type DriverHost,
  type DriverSubscription,
  type ErrorMeaning,
  type EventSink,
  type IncomingEvent,
  type OutgoingEvent,
  type PollRequest,
  PortableBroker,
  type PortableBrokerOptions,
  type ReceiveRequest,
  type WildcardRules,
  type WireRules,
} from '../../../src/broker/kit/kit.ts';
import { RecordingLogger } from '../../../src/testing/recorders.ts';
import { virtualRuntime, type VirtualTimers } from '../../../src/testing/virtual-time.ts';

/** What a server says: the test throws it, and the driver translates it. */
export class Refusal extends Error {
  readonly isFinal: boolean;

  constructor(message: string, isFinal = false) {
    super(message);
    this.isFinal = isFinal;
  }
}

/** A subscription whose server does what the test says. */
export class ScriptedSubscription implements DriverSubscription {
  readonly request: ReceiveRequest;
  readonly sink: EventSink;
  readonly log: string[] = [];
  /** What `ack` does, if there are acknowledgements. */
  acking: (events: readonly IncomingEvent[]) => Promise<unknown> = () => Promise.resolve();
  isClosed = false;
  ack?: (events: readonly IncomingEvent[]) => Promise<unknown>;
  nack?: (event: IncomingEvent, delayMs: number) => void;
  release?: (events: readonly IncomingEvent[]) => void;
  reject?: (event: IncomingEvent) => Promise<void>;
  poll?: (request: PollRequest) => Promise<readonly IncomingEvent[]>;
  interrupt?: (tried: number) => void;
  recover?: () => Promise<void>;
  keepAlive?: (events: readonly IncomingEvent[]) => Promise<void>;
  keepAliveMs?: number;
  batchesAcks?: boolean;
  maxBacklog?: number;
  pollIdleMs?: number;
  waiting?: number;

  constructor(request: ReceiveRequest, sink: EventSink) {
    this.request = request;
    this.sink = sink;
  }

  /** With everything that a server can do. */
  settling(): this {
    this.ack = (events) => {
      this.log.push(`ack ${events.map(({ id }) => id).join(' ')}`);
      return this.acking(events);
    };
    this.nack = ({ id }, delayMs) => void this.log.push(`nack ${id} ${delayMs}`);
    this.release = (events) => void this.log.push(`release ${events.map(({ id }) => id).join(' ')}`);
    return this;
  }

  stop(): void {
    this.log.push('stop');
  }

  close(): void {
    this.log.push('close');
    this.isClosed = true;
  }

  send(...ids: readonly string[]): void {
    for (const id of ids) this.sink.deliver(event(id));
  }
}

/** An event of that id, whose text it is too. */
export function event(id: string, attempt = 1): IncomingEvent {
  return { id, headers: {}, body: Buffer.from(id), attempt };
}

/** A driver whose server is the test. */
export class ScriptedDriver implements BrokerDriver {
  readonly address = 'nowhere:1';
  wire?: WireRules;
  wildcards?: WildcardRules;
  endsCalls?: boolean;
  maxBatch?: number;
  readonly log: string[] = [];
  readonly batches: (readonly OutgoingEvent[])[] = [];
  readonly subscriptions: ScriptedSubscription[] = [];
  host: DriverHost | undefined;
  opening: () => Promise<void> = () => Promise.resolve();
  publishing: (events: readonly OutgoingEvent[]) => ReturnType<BrokerDriver['publish']> = () => undefined;
  /** Equips a subscription, or fails. */
  receiving: (subscription: ScriptedSubscription) => void = (subscription) => void subscription.settling();

  async open(host: DriverHost): Promise<void> {
    this.log.push('open');
    this.host = host;
    await this.opening();
  }

  close(): void {
    this.log.push('close');
  }

  publish(events: readonly OutgoingEvent[]): ReturnType<BrokerDriver['publish']> {
    this.batches.push(events);
    return this.publishing(events);
  }

  async receive(request: ReceiveRequest, sink: EventSink): Promise<DriverSubscription> {
    const subscription = new ScriptedSubscription(request, sink);
    this.receiving(subscription);
    this.subscriptions.push(subscription);
    return subscription;
  }

  translate(error: unknown): ErrorMeaning {
    if (error instanceof Refusal) return { kind: 'refused', isFinal: error.isFinal };
    return { kind: error instanceof RangeError ? 'timeout' : 'unreachable' };
  }

  unwrap(): unknown {
    return this;
  }

  /** The subscription that was made last. */
  get last(): ScriptedSubscription {
    return this.subscriptions.at(-1)!;
  }
}

/** Options of a {@link ScriptedBroker}. */
export interface ScriptedOptions extends PortableBrokerOptions {
  /** What it can do besides, or not. */
  readonly can?: Partial<BrokerCapabilities>;
}

/** A broker over a scripted driver, in virtual time. */
export class ScriptedBroker extends PortableBroker {
  static capabilities({ can }: ScriptedOptions = {}): BrokerCapabilities {
    return {
      persistent: true,
      ack: true,
      nack: true,
      delay: true,
      groups: true,
      attempts: true,
      deadLetter: false,
      order: true,
      replay: false,
      shared: true,
      ...can,
    };
  }
}

/** A connected broker, its driver, and its time. */
export async function stage(
  prepare: (driver: ScriptedDriver) => void = () => {},
  can: Partial<BrokerCapabilities> = {},
): Promise<{
  readonly broker: ScriptedBroker;
  readonly driver: ScriptedDriver;
  readonly timers: VirtualTimers;
  readonly logger: RecordingLogger;
  readonly said: (level: string) => string[];
}> {
  const runtime = virtualRuntime();
  const logger = new RecordingLogger();
  const driver = new ScriptedDriver();
  prepare(driver);
  const options: ScriptedOptions = { runtime, logger, watchLag: 3, can };
  const broker = new ScriptedBroker({ name: 'scripted', options, makeDriver: () => driver });
  await broker.connect();
  const said = (level: string): string[] =>
    logger.lines.filter((line) => line.level === level).map(({ message }) => message);
  return { broker, driver, timers: runtime.timers, logger, said };
}
