import { fileURLToPath } from 'node:url';

import * as grpc from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';

import { Code, Registry, System } from '../../src/index.ts';
import { collect } from '../../src/testing/recorders.ts';
import type { PlacesApi } from '../../samples/places/src/api.ts';
import { servePlaces, type ServedPlaces } from './support.ts';

// Strangers: nothing here but @grpc/grpc-js and the .proto on their side of the wire.
const protoFile = fileURLToPath(new URL('../../samples/places/proto/places.proto', import.meta.url));
const definition = loadSync(protoFile, { longs: String, enums: String, defaults: true });
const { places } = grpc.loadPackageDefinition(definition) as unknown as {
  places: { Places: grpc.ServiceClientConstructor };
};

type Call = grpc.ClientDuplexStream<object, Record<string, unknown>>;
type Stranger = grpc.Client & Record<'nearest' | 'within' | 'recordRoute' | 'chat', (...args: unknown[]) => Call>;

describe('a plain grpc-js client of a served sample', () => {
  let served: ServedPlaces;
  let stranger: Stranger;

  beforeAll(async () => {
    served = await servePlaces({ TENON_PROFILE: 'local', TENON_LOG_LEVEL: 'warn' });
    stranger = new places.Places(
      served.addresses['places'] as string,
      grpc.credentials.createInsecure(),
    ) as unknown as Stranger;
  });
  afterAll(async () => {
    stranger.close();
    expect(await served.process.kill('SIGTERM')).toEqual({ code: 0, signal: null });
  });

  const unary = (
    method: 'nearest' | 'recordRoute',
    ...args: unknown[]
  ): { call: Call; reply: Promise<Record<string, unknown>> } => {
    let call: Call | undefined;
    const reply = new Promise<Record<string, unknown>>((resolve, reject) => {
      call = stranger[method](...args, (error: unknown, value: Record<string, unknown>) =>
        error ? reject(error) : resolve(value),
      );
    });
    return { call: call as Call, reply };
  };

  it('gets a reply to a unary call', async () => {
    const { place, distanceMeters } = await unary('nearest', { point: { latitude: 48.8584, longitude: 2.2945 } }).reply;
    expect(place).toMatchObject({
      id: 'paris/ile-de-france/fra',
      countryCode: 'FR',
      population: '4957589',
      size: 'METROPOLIS',
      timeZone: 'Europe/Paris',
    });
    expect(distanceMeters).toBeCloseTo(2_984, -2);
  });

  it('gets the status of a call that fails', async () => {
    await expect(unary('nearest', { point: { latitude: 100, longitude: 0 } }).reply).rejects.toMatchObject({
      code: grpc.status.INVALID_ARGUMENT,
      details: 'point.latitude is 100: latitudes are from -90 to 90 degrees',
    });
    await expect(unary('nearest', {}).reply).rejects.toMatchObject({
      code: grpc.status.INVALID_ARGUMENT,
      details: 'point is missing',
    });
  });

  it('reads a server stream to its end', async () => {
    const box = {
      southWest: { latitude: 46, longitude: 6 },
      northEast: { latitude: 47.8, longitude: 10.5 },
      minPopulation: 100_000,
    };
    const found = await collect<Record<string, unknown>>(stranger.within(box));
    expect(found.map((place) => place['name'])).toEqual(expect.arrayContaining(['Zürich', 'Bern', 'Lausanne']));
    const populations = found.map((place) => Number(place['population']));
    expect(populations).toEqual([...populations].sort((a, b) => b - a));
  });

  it('writes a client stream', async () => {
    const { call, reply } = unary('recordRoute');
    const start = 1_780_000_000;
    call.write({ point: { latitude: 52.52, longitude: 13.4 }, passedAt: { seconds: start, nanos: 0 } });
    call.write({
      point: { latitude: 52.4, longitude: 13.07 },
      passedAt: { seconds: start + 1_800, nanos: 500_000_000 },
    });
    call.end();
    const summary = await reply;
    expect(summary).toMatchObject({
      pointCount: 2,
      elapsed: { seconds: '1800', nanos: 500_000_000 },
      placeIds: ['berlin/berlin/deu', 'potsdam/brandenburg/deu'],
    });
    expect(summary['distanceMeters']).toBeCloseTo(26_059, -3);
  });

  it('talks both ways at once', async () => {
    const placeId = 'vienna/wien/aut';
    const talk = stranger.chat();
    const notes = talk[Symbol.asyncIterator]();
    const read = async (): Promise<unknown> => (await notes.next()).value as unknown;
    for (const text of ['one', 'two', 'three']) {
      talk.write({ placeId, author: 'stranger', text });
      expect(await read()).toMatchObject({
        placeId,
        author: 'stranger',
        text,
        writtenAt: { seconds: expect.stringMatching(/^\d{10}$/) },
      });
    }
    const other = stranger.chat();
    other.write({ placeId, author: 'other', text: 'four' });
    other.end();
    expect((await collect<Record<string, unknown>>(other)).map((note) => note['text'])).toEqual([
      'one',
      'two',
      'three',
      'four',
    ]);
    expect(await read()).toMatchObject({ author: 'other', text: 'four' });
    talk.end();
    expect(await notes.next()).toMatchObject({ done: true });
  });

  it('may leave in the middle without harm to others', async () => {
    const placeId = 'graz/steiermark/aut';
    const leaving = stranger.chat();
    leaving.write({ placeId, author: 'leaving', text: 'one' });
    const gone = new Promise<unknown>((resolve) => leaving.on('error', resolve));
    await new Promise((resolve) => leaving.once('data', resolve));
    leaving.cancel();
    expect(await gone).toMatchObject({ code: grpc.status.CANCELLED });
    const other = stranger.chat();
    other.write({ placeId, author: 'other', text: 'two' });
    other.end();
    expect((await collect<Record<string, unknown>>(other)).map((note) => note['text'])).toEqual(['one', 'two']);
    expect(served.process.stderr).toBe('');
  });
});

describe('a plain grpc-js server, called by a typed client', () => {
  const london = {
    id: 'london',
    name: 'London',
    country: 'United Kingdom',
    location: { latitude: 51.5, longitude: -0.1 },
    population: '9007199254740993',
    size: 'METROPOLIS',
  };
  const server = new grpc.Server();
  let address = '';
  let system: System;

  beforeAll(async () => {
    server.addService(places.Places.service, {
      nearest: (call: grpc.ServerUnaryCall<{ point: object | null }, object>, callback: grpc.sendUnaryData<object>) => {
        if (call.request.point) callback(null, { place: london, distanceMeters: 12.5 });
        else callback({ code: grpc.status.FAILED_PRECONDITION, details: 'no point, no place' });
      },
      within: (call: grpc.ServerWritableStream<object, object>) => {
        call.write(london);
        call.write({ ...london, countryCode: 'GB' });
        call.end();
      },
      recordRoute: (
        call: grpc.ServerReadableStream<{ passedAt: { seconds: string } }, object>,
        callback: grpc.sendUnaryData<object>,
      ) => {
        const times: number[] = [];
        call.on('data', (waypoint: { passedAt: { seconds: string } }) => times.push(Number(waypoint.passedAt.seconds)));
        call.on('end', () =>
          callback(null, {
            pointCount: times.length,
            elapsed: { seconds: (times.at(-1) ?? 0) - (times[0] ?? 0), nanos: 7 },
          }),
        );
      },
      chat: (call: grpc.ServerDuplexStream<object, object>) => {
        call.on('data', (note: object) => call.write({ ...note, author: 'echo' }));
        call.on('end', () => call.end());
      },
    });
    const port = await new Promise<number>((resolve, reject) =>
      server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, bound) =>
        error ? reject(error) : resolve(bound),
      ),
    );
    address = `127.0.0.1:${port}`;
    system = await System.start([], { profile: 'local' });
  });
  afterAll(async () => {
    await system.stop();
    server.forceShutdown();
  });

  const source = { proto: protoFile, name: 'places.Places' };
  const point = { latitude: 51, longitude: 0 };

  it('answers a unary call', async () => {
    const reply = await system.client<PlacesApi>(source).nearest({ point }, { address });
    expect(reply).toMatchObject({ place: { ...london, population: 9_007_199_254_740_993n }, distanceMeters: 12.5 });
    expect(reply.place.countryCode).toBeUndefined();
  });

  it('fails with the status it chose', async () => {
    const call = system
      .client<Pick<PlacesApi, never> & { nearest(request: object): Promise<unknown> }>(source)
      .nearest({}, { address });
    await expect(call).rejects.toMatchObject({ code: Code.FailedPrecondition, message: 'no point, no place' });
  });

  it('streams to the client', async () => {
    const box = { southWest: point, northEast: point };
    const found = await collect(system.client<PlacesApi>(source).within(box, { address }));
    expect(found.map((place) => place.countryCode)).toEqual([undefined, 'GB']);
  });

  it('takes a stream of the client', async () => {
    const waypoints = [10, 40, 70].map((second) => ({ point, passedAt: new Date(Date.UTC(2026, 0, 1, 0, 0, second)) }));
    const summary = await system.client<PlacesApi>(source).recordRoute(waypoints, { address });
    expect(summary).toMatchObject({ pointCount: 3, elapsed: { seconds: 60n, nanos: 7 } });
  });

  it('talks both ways', async () => {
    const notes = ['a', 'b'].map((text) => ({ placeId: 'x', author: 'me', text }));
    const heard = await collect(system.client<PlacesApi>(source).chat(notes, { address }));
    expect(heard).toMatchObject([
      { author: 'echo', text: 'a' },
      { author: 'echo', text: 'b' },
    ]);
  });

  it('is found in a registry that someone else wrote it into', async () => {
    const node = { id: 'places-foreign', address, metadata: {} };
    await system.get(Registry).register({ name: 'places', version: '1', metadata: {}, endpoints: [], nodes: [node] });
    expect((await system.client<PlacesApi>(source).nearest({ point })).place.name).toBe('London');
  });
});
