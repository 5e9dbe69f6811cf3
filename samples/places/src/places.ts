import { inject } from 'inversify';
import { Client, Clock, Code, type Context, Handler, Rpc, Service, TenonError } from 'tenon';

import type {
  Box,
  Duration,
  Nearby,
  NearestRequest,
  Note,
  Place,
  PlaceVisited,
  Point,
  RouteSummary,
  Waypoint,
} from './api.ts';
import { Gazetteer } from './gazetteer.ts';
import { distanceMeters } from './geo.ts';
import { NoteBoard } from './notes.ts';
import { protoFile } from './sources.ts';

/** A route comes through a place when it passes within this distance of its centre. */
const visitMeters = 10_000;

/** Finds places, records routes and keeps notes. */
@Handler('places.Places', { proto: protoFile })
export class PlacesHandler {
  readonly #board = new NoteBoard();

  constructor(
    @inject(Gazetteer) private readonly gazetteer: Gazetteer,
    @inject(Client) private readonly client: Client,
    @inject(Clock) private readonly clock: Clock,
  ) {}

  @Rpc()
  async nearest(request: NearestRequest): Promise<Nearby> {
    const found = this.gazetteer.nearest(checked(request.point, 'point'), request.minPopulation);
    if (!found || found.distanceMeters > (request.maxDistanceMeters ?? Infinity)) {
      throw new TenonError({
        code: Code.NotFound,
        reason: 'places.none_near',
        message: 'no such place is near enough: allow a greater distance, or fewer people',
      });
    }
    return found;
  }

  @Rpc({ stream: 'server' })
  async *within(box: Box): AsyncIterable<Place> {
    const [southWest, northEast] = [checked(box.southWest, 'south_west'), checked(box.northEast, 'north_east')];
    if (southWest.latitude > northEast.latitude) throw invalid('south_west lies north of north_east: exchange them');
    yield* this.gazetteer.within(southWest, northEast, box.minPopulation);
  }

  @Rpc({ stream: 'client' })
  async recordRoute(waypoints: AsyncIterable<Waypoint>, ctx: Context): Promise<RouteSummary> {
    const visits: PlaceVisited[] = [];
    let [pointCount, distance] = [0, 0];
    let [first, last]: (Waypoint | undefined)[] = [];
    for await (const waypoint of waypoints) {
      const point = checked(waypoint.point, 'point');
      const visitedAt = waypoint.passedAt ?? new Date(this.clock.now());
      if (last?.point) distance += distanceMeters(last.point, point);
      const near = this.gazetteer.nearest(point);
      if (near && near.distanceMeters <= visitMeters && visits.at(-1)?.placeId !== near.place.id) {
        const visit = {
          placeId: near.place.id,
          name: near.place.name,
          country: near.place.country,
          visitedAt: visitedAt.toISOString(),
        };
        await this.client.publish(this.client.newMessage('place.visited', visit), {
          ctx,
          dedupeKey: `${visit.placeId} ${visit.visitedAt}`,
        });
        visits.push(visit);
      }
      pointCount += 1;
      first ??= waypoint;
      last = waypoint;
    }
    return {
      pointCount,
      distanceMeters: distance,
      elapsed: elapsed(first, last),
      placeIds: visits.map((visit) => visit.placeId),
    };
  }

  @Rpc({ stream: 'bidi' })
  async *chat(notes: AsyncIterable<Note>): AsyncIterable<Note> {
    const reader = this.#board.join();
    void this.#pinAll(notes, reader.follow.bind(reader)).then(
      () => reader.end(),
      (error: Error) => reader.end(error),
    );
    try {
      yield* reader;
    } finally {
      reader.end();
    }
  }

  async #pinAll(notes: AsyncIterable<Note>, follow: (placeId: string) => void): Promise<void> {
    for await (const note of notes) {
      if (!this.gazetteer.get(note.placeId)) {
        throw new TenonError({
          code: Code.NotFound,
          reason: 'places.unknown',
          message: `no place has the id "${note.placeId}": take one that Nearest or Within gave`,
        });
      }
      follow(note.placeId);
      this.#board.pin({ ...note, writtenAt: new Date(this.clock.now()) });
    }
  }
}

@Service({ name: 'places', version: '1.0.0', handlers: [PlacesHandler] })
export class Places {}

/** The time between two waypoints that have one. */
function elapsed(first: Waypoint | undefined, last: Waypoint | undefined): Duration {
  const ms = first?.passedAt && last?.passedAt ? last.passedAt.getTime() - first.passedAt.getTime() : 0;
  return { seconds: BigInt(Math.trunc(ms / 1_000)), nanos: (ms % 1_000) * 1_000_000 };
}

function checked(point: Point | undefined, name: string): Point {
  if (!point) throw invalid(`${name} is missing`);
  if (!(Math.abs(point.latitude) <= 90))
    throw invalid(`${name}.latitude is ${point.latitude}: latitudes are from -90 to 90 degrees`);
  if (!(Math.abs(point.longitude) <= 180))
    throw invalid(`${name}.longitude is ${point.longitude}: longitudes are from -180 to 180 degrees`);
  return point;
}

function invalid(message: string): TenonError {
  return new TenonError({ code: Code.InvalidArgument, reason: 'places.invalid', message });
}
