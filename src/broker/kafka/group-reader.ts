import { GroupConsumer } from '../../kafka/group-consumer.ts';
import { PartitionReader, type ReaderSetup } from './partition-reader.ts';

/** Receives the events of the partitions that a consumer group gives to this member of it. */
export class GroupReader extends PartitionReader {
  override readonly keepAliveMs: number;
  readonly #consumer: GroupConsumer;

  constructor(setup: ReaderSetup, group: string) {
    super(setup);
    const { control: cluster, request, runtime, sessionTimeoutMs, sink } = setup;
    const own = { cluster, group, topic: request.topic, timers: runtime.timers, fetcher: this.fetcher };
    this.keepAliveMs = sessionTimeoutMs / 10;
    this.#consumer = new GroupConsumer({
      ...setup,
      ...own,
      onLost: () => {
        const inHand = sink.unsettled().length;
        sink.resetSession();
        return inHand;
      },
    });
  }

  override async keepAlive(): Promise<void> {
    await this.#consumer.heartbeat().catch((error: unknown) => {
      throw this.failed(error);
    });
    await super.keepAlive();
  }

  override stop(): void {
    super.stop();
    void this.#consumer.drain();
  }

  override async close(): Promise<void> {
    try {
      await this.#consumer.leave();
    } finally {
      await super.close();
    }
  }

  protected override async onPartitions(): Promise<void> {
    await this.#consumer.join();
    // Where a new group begins stands from now on, whatever becomes of this member.
    await this.save();
  }

  protected override save(): Promise<void> {
    return this.#consumer.commit();
  }
}
