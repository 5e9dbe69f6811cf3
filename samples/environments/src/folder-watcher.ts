import { Readable } from 'node:stream';

import { Code, TenonError } from 'tenon';
import type { RegistryEvent, ServiceRecord, Watcher } from 'tenon/registry';

const eventsWaiting = 1_000;

/** The changes that one reader of a watch has not read yet. */
export class FolderWatcher implements Watcher {
  readonly #events = new Readable({ objectMode: true, read() {} });
  readonly #onStop: () => void;

  constructor(onStop: () => void) {
    this.#onStop = onStop;
    // Without a reader an error would end the process; with one it is thrown to them.
    this.#events.on('error', () => {});
  }

  push(event: RegistryEvent): void {
    this.#events.push(event);
    if (this.#events.readableLength > eventsWaiting)
      this.fail(new Error(`more than ${eventsWaiting} changes wait to be read`));
  }

  /** Changes may have been missed. */
  fail(cause: unknown): void {
    this.#onStop();
    const message = 'the watch of the folder was lost: read the services again, and watch anew';
    this.#events.destroy(new TenonError({ code: Code.Unavailable, reason: 'registry.watch_lost', message, cause }));
  }

  stop(): void {
    this.#onStop();
    if (!this.#events.readableEnded && !this.#events.destroyed) this.#events.push(null);
  }

  [Symbol.asyncIterator](): AsyncIterator<RegistryEvent> {
    return this.#events.iterator({ destroyOnReturn: false }) as AsyncIterator<RegistryEvent>;
  }
}

/** What happened between two looks at the folder. */
export function changesBetween(before: readonly ServiceRecord[], after: readonly ServiceRecord[]): RegistryEvent[] {
  const [old, current] = [byNode(before), byNode(after)];
  const changes: RegistryEvent[] = [];
  for (const [id, service] of current) {
    const known = old.get(id);
    if (!known) changes.push({ action: 'create', service });
    else if (JSON.stringify(known) !== JSON.stringify(service)) changes.push({ action: 'update', service });
  }
  for (const [id, service] of old) if (!current.has(id)) changes.push({ action: 'delete', service });
  return changes;
}

function byNode(records: readonly ServiceRecord[]): Map<string, ServiceRecord> {
  return new Map(records.map((record) => [JSON.stringify([record.name, record.nodes[0]?.id]), record]));
}
