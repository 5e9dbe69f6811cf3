import { EventEmitter, once } from 'node:events';

import { type Context, Handler, Rpc, Service, Subscribe } from 'tenon';

import type { PlaceVisited, VisitsReply, VisitsRequest } from './api.ts';

const visitsKept = 10_000;

/**
 * Keeps account of the places that routes came through. It shares nothing with the service that says so but the event.
 */
@Handler('audit.Audit')
export class AuditHandler {
  readonly #visits: PlaceVisited[] = [];
  readonly #changes = new EventEmitter();

  @Subscribe('place.visited', { queue: 'audit', retry: 3, deadLetter: true, dedupe: true })
  async onVisited(event: PlaceVisited, ctx: Context): Promise<void> {
    ctx.logger.info('visited', { placeId: event.placeId, visitedAt: event.visitedAt });
    this.#visits.push(event);
    if (this.#visits.length > visitsKept) this.#visits.shift();
    this.#changes.emit('visit');
  }

  /** The last visits. Waits until there are as many: events take their time. */
  @Rpc({ idempotent: true })
  async visits(request: VisitsRequest, ctx: Context): Promise<VisitsReply> {
    while (this.#visits.length < request.last) await once(this.#changes, 'visit', { signal: ctx.signal });
    const last = request.last === 0 ? [] : this.#visits.slice(-request.last);
    return { visits: last.sort((a, b) => a.visitedAt.localeCompare(b.visitedAt)) };
  }
}

@Service({ name: 'audit', version: '1.0.0', handlers: [AuditHandler] })
export class Audit {}
