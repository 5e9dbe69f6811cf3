import { parseArgs } from 'node:util';

import { run, System } from 'tenon';

import type { AuditApi, PlacesApi } from './api.ts';
import { options, services } from './app.ts';
import { makeCalls } from './calls.ts';
import { auditSource, placesSource } from './sources.ts';

const print = (line: string): void => console.log(line);
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { serve: { type: 'boolean' }, call: { type: 'boolean' } },
});

if (values.serve === true) await serve(positionals);
else if (values.call === true) await callRunning();
else await serveAndCall();

/** Serves and calls in this one process: real gRPC on loopback, and nothing else that would have to run. */
async function serveAndCall(): Promise<void> {
  const env = { TENON_PROFILE: 'local', TENON_LOG_LEVEL: 'warn', ...process.env };
  const system = await System.start(services, { ...options, env });
  await callThrough(system);
}

/** Serves until a signal comes; then what is in flight is finished first. With names, only those services. */
async function serve(names: readonly string[]): Promise<void> {
  const chosen = names.map((name) => {
    const service = services.find((one) => one.name.toLowerCase() === name);
    if (!service) throw new Error(`there is no service "${name}" here: take places, audit, or both`);
    return service;
  });
  await run(chosen.length > 0 ? chosen : services, { ...options, onStarted: printHowToCall });
}

function printHowToCall(system: System): void {
  for (const service of system.services) print(`${String(service)} is served at ${service.server().address}`);
  print('From another terminal:');
  print('  npm start -- --call');
  const places = system.services.find((service) => String(service) === 'places');
  if (!places) return;
  const request = `'{"point": {"latitude": 45.9764, "longitude": 7.6586}}'`;
  // Without reflection grpcurl has to be given the file.
  const file = places.options.reflection ? '' : '-proto proto/places.proto ';
  print(`  grpcurl -plaintext ${file}-d ${request} ${places.server().address} places.Places/Nearest`);
}

/** Calls what is served elsewhere: found by name, wherever it runs. */
async function callRunning(): Promise<void> {
  const system = await System.start([], { env: { TENON_LOG_LEVEL: 'warn', ...process.env } });
  await callThrough(system);
}

/** Makes the calls and stops. */
async function callThrough(system: System): Promise<void> {
  try {
    await makeCalls(system.client<PlacesApi>(placesSource), system.client<AuditApi>(auditSource), print);
  } finally {
    await system.stop();
  }
}
