import { type ClientOf, Code, TenonError } from 'tenon';

import type { AuditApi, Duration, Note, PlacesApi, Waypoint } from './api.ts';

/** Where the lines of the sample go. */
export type Print = (line: string) => void;

/** Makes a call of each kind and prints what came back. Knows the services by their interfaces alone. */
export async function makeCalls(places: ClientOf<PlacesApi>, audit: ClientOf<AuditApi>, print: Print): Promise<void> {
  await nearest(places, print);
  await within(places, print);
  await recordRoute(places, audit, print);
  await chat(places, print);
}

/** Unary: one request, one reply. */
async function nearest(places: ClientOf<PlacesApi>, print: Print): Promise<void> {
  print('Nearest, to the Matterhorn');
  const point = { latitude: 45.9764, longitude: 7.6586 };
  for (const minPopulation of [undefined, 1_000_000n]) {
    const { place, distanceMeters } = await places.nearest({ point, minPopulation }, { timeoutMs: 5_000 });
    print(
      `  ${place.name}, ${place.country}: ${kilometers(distanceMeters)} away, ${people(place.population)}, a ${place.size.toLowerCase()}, ${place.timeZone}`,
    );
  }
  try {
    await places.nearest({ point: { latitude: -48.8767, longitude: -123.3933 }, maxDistanceMeters: 1_000_000 });
  } catch (error) {
    // The point of the ocean that is farthest from any land.
    if (!TenonError.is(error) || error.code !== Code.NotFound) throw error;
    print(`  and around Point Nemo: ${error.message}`);
  }
}

/** Server stream: one request, many replies. */
async function within(places: ClientOf<PlacesApi>, print: Print): Promise<void> {
  print('Within, both shores of the Bering Strait, across the antimeridian');
  const box = {
    southWest: { latitude: 63, longitude: 176 },
    northEast: { latitude: 68, longitude: -164 },
    minPopulation: 1_000n,
  };
  for await (const place of places.within(box)) {
    print(`  ${place.name}, ${place.country}: ${people(place.population)}`);
  }
}

/** Client stream: many requests, one reply; and the event that comes of it. */
async function recordRoute(places: ClientOf<PlacesApi>, audit: ClientOf<AuditApi>, print: Print): Promise<void> {
  print('RecordRoute, by train across the Alps');
  const { pointCount, distanceMeters, elapsed, placeIds } = await places.recordRoute(waypoints());
  print(
    `  ${pointCount} points, ${kilometers(distanceMeters)} in ${hours(elapsed)}, through ${placeIds.length} places`,
  );
  const { visits } = await audit.visits({ last: placeIds.length }, { timeoutMs: 5_000 });
  for (const visit of visits)
    print(`  the audit was told: ${visit.name}, ${visit.country}, at ${visit.visitedAt.slice(11, 16)}`);
}

async function* waypoints(): AsyncIterable<Waypoint> {
  const points: [latitude: number, longitude: number, time: string][] = [
    [47.3779, 8.5402, '08:05'], // Zürich
    [46.8805, 8.6444, '08:47'], // the northern portal of the Gotthard base tunnel
    [46.1956, 9.0293, '09:25'], // Bellinzona
    [46.0055, 8.9467, '09:43'], // Lugano
    [45.8322, 9.0319, '10:03'], // Como
    [45.4861, 9.2049, '10:40'], // Milan
  ];
  for (const [latitude, longitude, time] of points) {
    yield { point: { latitude, longitude }, passedAt: new Date(`2026-06-21T${time}:00Z`) };
  }
}

/** Bidirectional stream: both sides talk when they like. */
async function chat(places: ClientOf<PlacesApi>, print: Print): Promise<void> {
  print('Chat, two people at one place');
  const { place } = await places.nearest({ point: { latitude: 45.4642, longitude: 9.19 } });
  const ada = new Talk(places, 'Ada', place.id);
  const grace = new Talk(places, 'Grace', place.id);
  await ada.write(`The cathedral of ${place.name} has 3,400 statues.`);
  await grace.write('Which one is the smallest?');
  await ada.read('Which one is the smallest?');
  for (const { name, heard } of [ada, grace])
    print(`  ${name} read: ${heard.map((note) => `${note.author}: ${note.text}`).join(' / ')}`);
  await ada.leave();
  await grace.leave();
}

/** One side of a chat: writes when told to, and keeps what it reads. */
class Talk {
  readonly heard: Note[] = [];
  readonly #outbox = new TransformStream<Note, Note>();
  readonly #writer = this.#outbox.writable.getWriter();
  readonly #notes: AsyncIterator<Note>;

  constructor(
    places: ClientOf<PlacesApi>,
    readonly name: string,
    private readonly placeId: string,
  ) {
    this.#notes = places.chat(this.#outbox.readable)[Symbol.asyncIterator]();
  }

  /** Resolves when the service has the note: it comes back to who wrote it. */
  async write(text: string): Promise<void> {
    void this.#writer.write({ placeId: this.placeId, author: this.name, text });
    await this.read(text);
  }

  /** Reads on until this note has come. */
  async read(text: string): Promise<void> {
    while (this.heard.at(-1)?.text !== text) {
      const next = await this.#notes.next();
      if (next.done === true) throw new Error(`the chat ended before "${text}" came`);
      this.heard.push(next.value);
    }
  }

  /** Says no more, and reads what is left: so the call ends well instead of being cancelled. */
  async leave(): Promise<void> {
    void this.#writer.close();
    while ((await this.#notes.next()).done !== true);
  }
}

function kilometers(meters: number): string {
  return `${(meters / 1_000).toFixed(1)} km`;
}

function people(population: bigint): string {
  return `${population.toLocaleString('en-US')} people`;
}

function hours(duration: Duration): string {
  const minutes = Number(duration.seconds) / 60;
  return `${Math.floor(minutes / 60)} h ${Math.round(minutes % 60)} min`;
}
