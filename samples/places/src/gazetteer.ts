import { injectable } from 'inversify';
import { cityMapping } from 'city-timezones';

import type { Place, Point, Size } from './api.ts';
import { Grid } from './grid.ts';

/** The places of the npm package `city-timezones`, by id and by where they are. Read once, when the service starts. */
@injectable()
export class Gazetteer {
  readonly #byId = new Map<string, Place>();
  readonly #grid: Grid<Place>;

  constructor() {
    for (const city of cityMapping) {
      const place = toPlace(city);
      // Two records with one name in one province are one place, told twice; the greater count is the later one.
      if ((this.#byId.get(place.id)?.population ?? -1n) < place.population) this.#byId.set(place.id, place);
    }
    this.#grid = new Grid(this.#byId.values());
  }

  get size(): number {
    return this.#byId.size;
  }

  get(id: string): Place | undefined {
    return this.#byId.get(id);
  }

  nearest(point: Point, minPopulation = 0n): { place: Place; distanceMeters: number } | undefined {
    const found = this.#grid.nearest(point, (place) => place.population >= minPopulation);
    return found && { place: found.item, distanceMeters: found.distanceMeters };
  }

  within(southWest: Point, northEast: Point, minPopulation = 0n): Place[] {
    return [...this.#grid.within(southWest, northEast)]
      .filter((place) => place.population >= minPopulation)
      .sort((a, b) => Number(b.population - a.population) || (a.id < b.id ? -1 : 1));
  }
}

type City = (typeof cityMapping)[number];

function toPlace(city: City): Place {
  // The source averages two estimates, and has blanks and "-99" where ISO 3166-1 has no code.
  const population = BigInt(Math.round(city.pop));
  return {
    id: [city.city, city.province, city.iso3].map(slug).join('/'),
    name: city.city,
    country: city.country,
    countryCode: /^[A-Z]{2}$/.test(city.iso2) ? city.iso2 : undefined,
    province: city.province,
    location: { latitude: city.lat, longitude: city.lng },
    population,
    size: sizeOf(population),
    timeZone: city.timezone,
  };
}

function sizeOf(population: bigint): Size {
  if (population >= 1_000_000n) return 'METROPOLIS';
  if (population >= 100_000n) return 'CITY';
  return population >= 2_000n ? 'TOWN' : 'VILLAGE';
}

/** `Île-de-France` → `ile-de-france` */
function slug(text: string): string {
  const ascii = text
    .normalize('NFKD')
    .replace(/\p{Mark}/gu, '')
    .toLowerCase();
  return ascii.replace(/[^a-z0-9]+/g, '-').replace(/^-|-$/g, '');
}
