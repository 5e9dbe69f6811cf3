/** Degrees, WGS 84. */
export interface Point {
  readonly latitude: number;
  readonly longitude: number;
}

export type Size = 'SIZE_UNSPECIFIED' | 'VILLAGE' | 'TOWN' | 'CITY' | 'METROPOLIS';

export interface Place {
  readonly id: string;
  readonly name: string;
  readonly country: string;
  readonly countryCode?: string | undefined;
  readonly province: string;
  readonly location: Point;
  readonly population: bigint;
  readonly size: Size;
  readonly timeZone: string;
}

export interface NearestRequest {
  readonly point: Point;
  readonly minPopulation?: bigint | undefined;
  readonly maxDistanceMeters?: number | undefined;
}

export interface Nearby {
  readonly place: Place;
  readonly distanceMeters: number;
}

export interface Box {
  readonly southWest: Point;
  readonly northEast: Point;
  readonly minPopulation?: bigint | undefined;
}

export interface Waypoint {
  readonly point: Point;
  readonly passedAt?: Date | undefined;
}

export interface RouteSummary {
  readonly pointCount: number;
  readonly distanceMeters: number;
  readonly elapsed: Duration;
  readonly placeIds: readonly string[];
}

export interface Note {
  readonly placeId: string;
  readonly author: string;
  readonly text: string;
  readonly writtenAt?: Date | undefined;
}

/** `google.protobuf.Duration` */
export interface Duration {
  readonly seconds: bigint;
  readonly nanos: number;
}

/** The service of `places.proto`, as its callers see it. */
export interface PlacesApi {
  nearest(request: NearestRequest): Promise<Nearby>;
  within(box: Box): AsyncIterable<Place>;
  recordRoute(waypoints: AsyncIterable<Waypoint>): Promise<RouteSummary>;
  chat(notes: AsyncIterable<Note>): AsyncIterable<Note>;
}

/** The event `place.visited`. It travels as JSON. */
export interface PlaceVisited {
  readonly placeId: string;
  readonly name: string;
  readonly country: string;
  /** ISO 8601. */
  readonly visitedAt: string;
}

export interface VisitsRequest {
  readonly last: number;
}

export interface VisitsReply {
  readonly visits: readonly PlaceVisited[];
}

/** The audit, as its callers see it. */
export interface AuditApi {
  visits(request: VisitsRequest): Promise<VisitsReply>;
}
