import type { SocketServerLimits } from '../sockets/socket-defaults.ts';

/** A connection that uses a {@link SendBudget}. */
export interface SendBudgetUser {
  /** Called when there is room again: calls that wait may begin. */
  onRoom(): void;
}

/** Limits the unsent bytes of all connections of a listener together. Above the limit no new call begins. */
export class SendBudget {
  readonly limits: Pick<SocketServerLimits, 'maxUnsentBytes' | 'maxUnsentBytesPerConnection'>;
  #bytes = 0;
  readonly #waiting = new Set<SendBudgetUser>();

  constructor(limits: SendBudget['limits']) {
    this.limits = limits;
  }

  get isFull(): boolean {
    return this.#bytes >= this.limits.maxUnsentBytes;
  }

  /** Changes the number of unsent bytes. */
  change(bytes: number): void {
    const wasFull = this.isFull;
    this.#bytes += bytes;
    if (!wasFull || this.isFull) return;
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const connection of waiting) connection.onRoom();
  }

  /** Calls `onRoom` of the connection once there is room. */
  wait(connection: SendBudgetUser): void {
    this.#waiting.add(connection);
  }

  forget(connection: SendBudgetUser): void {
    this.#waiting.delete(connection);
  }
}
