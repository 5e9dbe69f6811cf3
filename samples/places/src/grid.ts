import type { Point } from './api.ts';
import { distanceMeters, latitudeDistanceMeters, meridianDistanceMeters } from './geo.ts';

const cellDegrees = 2;
const rows = 180 / cellDegrees;
const columns = 360 / cellDegrees;

/** Anything with a location. */
export interface Located {
  readonly location: Point;
}

/**
 * Finds things by where they are. The globe is cut into cells of two degrees, so that a search looks at the cells it
 * touches instead of at everything.
 */
export class Grid<T extends Located> {
  readonly #cells = new Map<number, T[]>();

  constructor(items: Iterable<T>) {
    for (const item of items) {
      const cell = rowOf(item.location.latitude) * columns + columnOf(item.location.longitude);
      const there = this.#cells.get(cell);
      if (there) there.push(item);
      else this.#cells.set(cell, [item]);
    }
  }

  /** What is nearest to `point` among what `accept` takes, and how far it is. */
  nearest(point: Point, accept: (item: T) => boolean = () => true): { item: T; distanceMeters: number } | undefined {
    let best: { item: T; distanceMeters: number } | undefined;
    const limit = (): number => best?.distanceMeters ?? Infinity;
    for (const row of outward(rowOf(point.latitude), rows)) {
      if (latitudeDistanceMeters(gap(point.latitude, row * cellDegrees - 90)) > limit()) continue;
      for (const column of around(columnOf(point.longitude))) {
        // Longitude says nothing about distance near a pole that is nearer than the best so far; there the bound is
        // small, and all are read.
        if (meridianDistanceMeters(point.latitude, column.degreesAway) > limit()) break;
        for (const item of this.#cells.get(row * columns + column.at) ?? []) {
          const meters = distanceMeters(point, item.location);
          if (meters < limit() && accept(item)) best = { item, distanceMeters: meters };
        }
      }
    }
    return best;
  }

  /** What lies between two corners, in no order. A box whose west is greater than its east crosses the antimeridian. */
  *within(southWest: Point, northEast: Point): Iterable<T> {
    const crosses = southWest.longitude > northEast.longitude;
    const first = columnOf(southWest.longitude);
    const last = columnOf(northEast.longitude);
    const count = crosses ? Math.min(columns, last - first + columns + 1) : last - first + 1;
    for (let row = rowOf(southWest.latitude); row <= rowOf(northEast.latitude); row += 1) {
      for (let step = 0; step < count; step += 1) {
        for (const item of this.#cells.get(row * columns + ((first + step) % columns)) ?? []) {
          const { latitude, longitude } = item.location;
          if (latitude < southWest.latitude || latitude > northEast.latitude) continue;
          const east = longitude >= southWest.longitude;
          const west = longitude <= northEast.longitude;
          if (crosses ? east || west : east && west) yield item;
        }
      }
    }
  }
}

function rowOf(latitude: number): number {
  return Math.min(rows - 1, Math.floor((latitude + 90) / cellDegrees));
}

function columnOf(longitude: number): number {
  return Math.min(columns - 1, Math.floor((longitude + 180) / cellDegrees));
}

/** How far `value` is from the cell that begins at `start`; nothing inside it. */
function gap(value: number, start: number): number {
  return Math.max(0, start - value, value - (start + cellDegrees));
}

/** `from`, then its neighbours, ever further away. */
function* outward(from: number, size: number): Iterable<number> {
  yield from;
  for (let step = 1; step < size; step += 1) {
    if (from + step < size) yield from + step;
    if (from - step >= 0) yield from - step;
  }
}

/** The same around the globe, and how many degrees each column is away at least. */
function* around(from: number): Iterable<{ at: number; degreesAway: number }> {
  yield { at: from, degreesAway: 0 };
  for (let step = 1; step <= columns / 2; step += 1) {
    const degreesAway = (step - 1) * cellDegrees;
    yield { at: (from + step) % columns, degreesAway };
    if (step < columns / 2) yield { at: (from - step + columns) % columns, degreesAway };
  }
}
