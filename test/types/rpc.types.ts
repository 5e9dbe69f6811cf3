import { clientOf, type ClientOf, type Context, contract, Handler, Rpc, Subscribe } from 'tenon';

interface Point {
  lat: number;
  lon: number;
}
interface Place {
  id: string;
}

@Handler('places.Places')
class PlacesHandler {
  @Rpc() async nearest(_request: Point, _ctx: Context): Promise<Place> {
    return { id: '' };
  }
  @Rpc({ stream: 'server' }) async *within(_request: Point): AsyncIterable<Place> {}
  @Rpc({ stream: 'client' }) async record(_points: AsyncIterable<Point>): Promise<{ count: number }> {
    return { count: 0 };
  }
  @Rpc({ stream: 'bidi' }) async *chat(_notes: AsyncIterable<string>): AsyncIterable<string> {}

  // @ts-expect-error a server stream gives an AsyncIterable, not a promise
  @Rpc({ stream: 'server' }) async notAStream(_request: Point): Promise<Place> {
    return { id: '' };
  }
  // @ts-expect-error a server stream takes one request, not a stream of them
  @Rpc({ stream: 'server' }) async *takesTooMuch(_points: AsyncIterable<Point>): AsyncIterable<Place> {}
  // @ts-expect-error a client stream takes an AsyncIterable of requests
  @Rpc({ stream: 'client' }) async takesOne(_point: Point): Promise<Place> {
    return { id: '' };
  }
  // @ts-expect-error a bidirectional stream takes an AsyncIterable
  @Rpc({ stream: 'bidi' }) async *halfBidi(_note: string): AsyncIterable<string> {}
  // @ts-expect-error there is no such kind
  @Rpc({ stream: 'both' }) async *both(_notes: AsyncIterable<string>): AsyncIterable<string> {}
  // @ts-expect-error a handler of events gives nothing back
  @Subscribe('visited') async visited(_event: Place): Promise<number> {
    return 1;
  }
  @Subscribe('left', { queue: 'audit', retry: 3, deadLetter: true }) async left(_event: Place): Promise<void> {}
  // @ts-expect-error retry is a number of times
  @Subscribe('left', { retry: 'often' }) async again(_event: Place): Promise<void> {}
}

declare const places: ClientOf<PlacesHandler>;

export async function calls(): Promise<void> {
  const place: Place = await places.nearest({ lat: 1, lon: 2 }, { timeoutMs: 200 });
  for await (const one of places.within({ lat: 1, lon: 2 })) void (one.id satisfies string);
  const summary = await places.record([{ lat: 1, lon: 2 }]);
  summary.count satisfies number;
  async function* notes(): AsyncIterable<string> {
    yield place.id;
  }
  for await (const note of places.chat(notes())) note satisfies string;

  // @ts-expect-error the request has no such field
  await places.nearest({ latitude: 1, lon: 2 });
  // @ts-expect-error a request is needed
  await places.nearest();
  // @ts-expect-error a time-out is a number of milliseconds
  await places.nearest({ lat: 1, lon: 2 }, { timeoutMs: '200' });
  // @ts-expect-error the reply has no such field
  (await places.nearest({ lat: 1, lon: 2 })).name;
  // @ts-expect-error there is no such method
  await places.furthest({ lat: 1, lon: 2 });
  // @ts-expect-error a client stream takes an iterable of requests
  await places.record({ lat: 1, lon: 2 });
  // @ts-expect-error a server stream is iterated, not awaited for its fields
  (await places.within({ lat: 1, lon: 2 })).id;
  // @ts-expect-error the context is the server's; a caller gives options
  await places.nearest({ lat: 1, lon: 2 }, { metadata: 7 });
}

interface ClockApi {
  now(request: { zone: string }): Promise<{ time: string }>;
  tick(request: { count: number }): AsyncIterable<{ n: number }>;
}
export const clock = contract<ClockApi>('clock.Clock', { now: { idempotent: true }, tick: { stream: 'server' } });
// @ts-expect-error a method is missing
export const half = contract<ClockApi>('clock.Clock', { now: {} });
// @ts-expect-error tick streams from the server
export const wrong = contract<ClockApi>('clock.Clock', { now: {}, tick: {} });

export class Caller {
  constructor(readonly clock: ClientOf<ClockApi>) {}
  async time(): Promise<string> {
    return (await this.clock.now({ zone: 'UTC' })).time;
  }
}
clientOf(PlacesHandler) satisfies import('inversify').ServiceIdentifier<ClientOf<PlacesHandler>>;
clientOf(clock) satisfies import('inversify').ServiceIdentifier<ClientOf<ClockApi>>;
clientOf<ClockApi>({ proto: 'clock.proto', name: 'clock.Clock' }) satisfies import('inversify').ServiceIdentifier<
  ClientOf<ClockApi>
>;
// @ts-expect-error a service known by its .proto needs the name as well
clientOf<ClockApi>({ proto: 'clock.proto' });
