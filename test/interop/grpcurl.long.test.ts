import { fileURLToPath } from 'node:url';

import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';

import { sampleFolder, servePlaces } from '../samples/support.ts';
import { startNode, TestProcess } from '../support/process.ts';
import { describeWithTools, toolPath } from '../support/tools.ts';

const program = fileURLToPath(new URL('programs/reflected.mjs', import.meta.url));

interface Told {
  readonly code: number | null;
  readonly out: string;
  readonly errors: string;
}

async function grpcurl(...args: string[]): Promise<Told> {
  const child = new TestProcess(toolPath('grpcurl'), ['-plaintext', '-max-time', '30', ...args]);
  const { code } = await child.exited;
  return { code, out: child.stdout, errors: child.stderr };
}

/** The values that are printed one behind the other. */
function values(text: string): unknown[] {
  return text
    .split(/\n(?=\{)/)
    .filter((one) => one.trim() !== '')
    .map((one) => JSON.parse(one) as unknown);
}

const other = { v1: 'v1alpha', v1alpha: 'v1' } as const;

describeWithTools('grpcurl', ['grpcurl'], () => {
  describe.each(['v1', 'v1alpha'] as const)('through reflection %s alone', (version) => {
    let served: TestProcess;
    let address: string;

    beforeAll(async () => {
      const env = { TENON_PROFILE: 'local', WITHOUT: `grpc.reflection.${other[version]}.ServerReflection` };
      served = startNode(program, { env });
      [, address = ''] = await served.waitForLine(/^address (\S+)/);
    });
    afterAll(async () => {
      expect(await served.kill('SIGTERM')).toEqual({ code: 0, signal: null });
    });

    const call = async (method: string, ...requests: object[]): Promise<unknown[]> => {
      const data = requests.map((one) => JSON.stringify(one)).join(' ');
      const { code, out, errors } = await grpcurl('-d', data, address, method);
      expect({ code, errors }).toEqual({ code: 0, errors: '' });
      return values(out);
    };

    it('lists services with a .proto, and their methods', async () => {
      expect((await grpcurl(address, 'list')).out.split('\n')).toEqual([
        'failing.Failing',
        'grpc.health.v1.Health',
        'grpc.reflection.v1.ServerReflection',
        'grpc.reflection.v1alpha.ServerReflection',
        'places.Places',
        '',
      ]);
      expect((await grpcurl(address, 'list', 'places.Places')).out.split('\n')).toEqual([
        'places.Places.Chat',
        'places.Places.Nearest',
        'places.Places.RecordRoute',
        'places.Places.Within',
        '',
      ]);
    });

    it('describes all services, and any symbol', async () => {
      const all = await grpcurl(address, 'describe');
      expect(all).toMatchObject({ code: 0, errors: '' });
      expect(all.out).toContain('rpc Chat ( stream .places.Note ) returns ( stream .places.Note );');
      const described = async (symbol: string): Promise<string> => (await grpcurl(address, 'describe', symbol)).out;
      expect(await described('places.Place')).toContain('optional string country_code = 4;');
      expect(await described('places.Places.Within')).toContain(
        'rpc Within ( .places.Box ) returns ( stream .places.Place )',
      );
      expect(await described('places.Waypoint')).toContain('.google.protobuf.Timestamp passed_at = 2;');
      expect(await described('google.protobuf.Timestamp')).toContain('int64 seconds = 1;');
      expect(await described('failing.Request')).toContain('map<string, .failing.Request.Part> parts_by_name = 1;');
      expect(await described('failing.Request.Part.Side')).toContain('RIGHT = 1;');
      expect(await described('failing.Kind')).toContain('option allow_alias = true;');
    });

    it('makes all four kinds of call', async () => {
      const [nearest] = await call('places.Places/Nearest', { point: { latitude: 45.9764, longitude: 7.6586 } });
      expect(nearest).toMatchObject({ place: { name: 'Sion', countryCode: 'CH' } });

      const corners = { southWest: { latitude: 63, longitude: 170 }, northEast: { latitude: 69, longitude: -160 } };
      const within = await call('places.Places/Within', corners);
      expect(within[0]).toMatchObject({ name: 'Anadyr' });
      expect(within.length).toBeGreaterThan(2);

      const [route] = await call(
        'places.Places/RecordRoute',
        { point: { latitude: 47.3779, longitude: 8.5403 }, passedAt: '2026-05-04T08:05:00Z' },
        { point: { latitude: 46.8805, longitude: 8.6444 }, passedAt: '2026-05-04T08:47:00Z' },
      );
      expect(route).toMatchObject({ pointCount: 2, elapsed: '2520s' });

      const note = { placeId: 'sion/valais/che', author: 'Ada', text: 'Snow.' };
      expect(await call('places.Places/Chat', note, { ...note, text: 'And sun.' })).toMatchObject([
        note,
        { ...note, text: 'And sun.' },
      ]);
    });

    it('shows an error, with its details', async () => {
      const point = { latitude: 91, longitude: 0 };
      const invalid = await grpcurl('-d', JSON.stringify({ point }), address, 'places.Places/Nearest');
      expect(invalid.code).toBe(64 + 3);
      expect(invalid.errors).toContain('Code: InvalidArgument');
      const detailed = await grpcurl('-d', '{"partsByName":{"a":{"side":"RIGHT"}}}', address, 'failing.Failing/Fail');
      expect(detailed.code).toBe(64 + 3);
      expect(detailed.errors).toContain('Message: no part was given');
      expect(detailed.errors).toContain('"@type": "type.googleapis.com/google.rpc.BadRequest"');
      expect(detailed.errors).toContain('"description": "must have a part"');
    });

    it('fails to describe a service without a .proto, and a symbol that does not exist', async () => {
      const told = await grpcurl(address, 'describe', 'json.Json');
      expect(told.code).not.toBe(0);
      expect((await grpcurl(address, 'describe', 'places.Nowhere')).errors).toContain('places.Nowhere');
    });
  });

  it.each(['true', 'false'])(
    'calls the sample by the command that --serve prints, with TENON_REFLECTION=%s',
    async (TENON_REFLECTION) => {
      const env = { TENON_PROFILE: 'local', TENON_REFLECTION };
      const { process: served, addresses } = await servePlaces(env, ['places']);
      const [, line = ''] = await served.waitForLine(/^ {2}(grpcurl .*)$/);
      expect(line).toContain(addresses['places']);
      const command = line.replace(/^grpcurl/, `'${toolPath('grpcurl')}'`);
      const child = new TestProcess('sh', ['-c', command], { cwd: sampleFolder('places') });
      expect(await child.exited).toEqual({ code: 0, signal: null });
      expect(child.stdout).toContain('"name": "Sion"');
      expect(await served.kill('SIGTERM')).toEqual({ code: 0, signal: null });
    },
  );
});
