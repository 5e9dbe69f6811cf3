import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { type ClientOf, Code, System } from 'tenon';

import type { Note, PlacesApi, Point } from './api.ts';
import { options, services } from './app.ts';
import { Gazetteer } from './gazetteer.ts';
import { distanceMeters } from './geo.ts';
import { PlacesHandler } from './places.ts';
import { auditSource } from './sources.ts';

// Both services in this process, over the memory transport: no port is opened.
let system: System;
let places: ClientOf<PlacesApi>;

before(async () => {
  system = await System.start(services, { ...options, profile: 'test' });
  places = system.client(PlacesHandler);
});
after(() => system.stop());

const world = { southWest: { latitude: -90, longitude: -180 }, northEast: { latitude: 90, longitude: 180 } };

/** Points all over the globe, the same every time: the fractions of multiples of the golden ratio. */
function* pointsOfTheGlobe(count: number): Iterable<Point> {
  for (let n = 0; n < count; n += 1) {
    const latitude = (Math.asin((2 * (n + 0.5)) / count - 1) * 180) / Math.PI;
    yield { latitude, longitude: ((n * 0.618_033_988_749_895) % 1) * 360 - 180 };
  }
}

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const collected: T[] = [];
  for await (const item of items) collected.push(item);
  return collected;
}

void test('the nearest place is the one that a look at every place finds', () => {
  const gazetteer = new Gazetteer();
  const everywhere = gazetteer.within(world.southWest, world.northEast);
  assert.equal(everywhere.length, gazetteer.size);
  for (const point of pointsOfTheGlobe(400)) {
    const expected = Math.min(...everywhere.map((place) => distanceMeters(point, place.location)));
    assert.equal(gazetteer.nearest(point)?.distanceMeters, expected, `at ${point.latitude}, ${point.longitude}`);
  }
});

void test('a box holds what lies between its corners, also across the antimeridian', () => {
  const gazetteer = new Gazetteer();
  const everywhere = gazetteer.within(world.southWest, world.northEast);
  const corners = [...pointsOfTheGlobe(40)];
  for (const [n, southWest] of corners.slice(0, 39).entries()) {
    const northEast = corners[n + 1] as Point;
    const expected = everywhere.filter(({ location: { latitude, longitude } }) => {
      const [east, west] = [longitude >= southWest.longitude, longitude <= northEast.longitude];
      const inside = southWest.longitude > northEast.longitude ? east || west : east && west;
      return inside && latitude >= southWest.latitude && latitude <= northEast.latitude;
    });
    assert.deepEqual(gazetteer.within(southWest, northEast), expected);
  }
});

void test('Nearest keeps to the population and the distance asked for', async () => {
  const point = { latitude: 48.85, longitude: 2.35 };
  assert.equal((await places.nearest({ point })).place.name, 'Paris');
  const { place } = await places.nearest({ point, minPopulation: 8_000_000n });
  assert.ok(place.population >= 8_000_000n);
  await assert.rejects(places.nearest({ point, minPopulation: 8_000_000n, maxDistanceMeters: 1_000 }), {
    code: Code.NotFound,
    reason: 'places.none_near',
  });
});

void test('a place without a country code has none', async () => {
  const { place } = await places.nearest({ point: { latitude: 42.6667, longitude: 21.166 } });
  assert.equal(place.name, 'Pristina');
  assert.equal(place.countryCode, undefined);
});

void test('a point that is none is refused by name', async () => {
  await assert.rejects(places.nearest({ point: { latitude: 91, longitude: 0 } }), {
    code: Code.InvalidArgument,
    message: 'point.latitude is 91: latitudes are from -90 to 90 degrees',
  });
});

void test('Within streams the most populous first', async () => {
  const found = await collect(places.within({ ...world, minPopulation: 14_900_000n }));
  assert.deepEqual(found.map((place) => place.name).slice(0, 3), ['Tokyo', 'Mumbai', 'Mexico City']);
});

void test('RecordRoute sums up, and the audit is told of each place once', async () => {
  const at = (time: string): Date => new Date(`2026-01-01T${time}Z`);
  const summary = await places.recordRoute([
    { point: { latitude: 52.52, longitude: 13.4 }, passedAt: at('10:00:00') },
    { point: { latitude: 52.51, longitude: 13.41 }, passedAt: at('10:10:00') },
    { point: { latitude: 52.4, longitude: 13.07 }, passedAt: at('11:00:30') },
  ]);
  assert.equal(summary.pointCount, 3);
  assert.equal(summary.elapsed.seconds, 3_630n);
  assert.deepEqual(
    summary.placeIds.map((id) => id.split('/')[0]),
    ['berlin', 'potsdam'],
  );
  const { visits } = await system.client(auditSource).visits({ last: 2 }, { timeoutMs: 5_000 });
  assert.deepEqual(
    visits.map((visit) => visit.name),
    ['Berlin', 'Potsdam'],
  );
});

void test('Chat gives the earlier notes of a place first', async () => {
  const placeId = 'berlin/berlin/deu';
  const write = (author: string): Promise<Note[]> =>
    collect(places.chat([{ placeId, author, text: `${author} was here` }]));
  assert.deepEqual(
    (await write('Ada')).map((note) => note.author),
    ['Ada'],
  );
  assert.deepEqual(
    (await write('Grace')).map((note) => note.author),
    ['Ada', 'Grace'],
  );
  await assert.rejects(collect(places.chat([{ placeId: 'atlantis', author: 'Ada', text: 'anyone?' }])), {
    code: Code.NotFound,
  });
});
