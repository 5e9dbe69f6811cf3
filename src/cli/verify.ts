import { existsSync } from 'node:fs';
import { relative, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

import { type AppOptions, type Problem, verify } from '../app/app.ts';
import { type Class, serviceOf } from '../decorators/decorators.ts';
import { didYouMean } from '../internal/suggest.ts';
import { type CliIo, print, UsageError } from './io.ts';

/** What `tenon verify` was told. */
export interface VerifyOptions {
  readonly export?: string | undefined;
  readonly profile?: string | undefined;
}

/** Prints what is wrong with how the module's services are put together; resolves to the exit code. */
export async function verifyModule(io: CliIo, path: string, options: VerifyOptions): Promise<number> {
  const file = resolve(io.cwd, path);
  const shown = relative(io.cwd, file);
  if (!existsSync(file)) throw new UsageError(`there is no file ${shown}: name a compiled module, such as dist/app.js`);
  if (/\.[cm]?tsx?$/.test(file))
    throw new UsageError(`${shown} is not compiled: name the module that the compiler makes of it`);
  const module = (await import(pathToFileURL(file).href)) as Readonly<Record<string, unknown>>;
  const services =
    options.export === undefined ? exportedServices(shown, module) : namedExport(shown, module, options.export);
  const given = (module['options'] ?? {}) as AppOptions;
  const { problems, notes } = await verify(services, {
    ...given,
    ...(options.profile !== undefined && { profile: options.profile, env: given.env ?? process.env }),
  });
  const names = services.map((service) => service.name).join(', ');
  if (problems.length === 0) {
    print(io, `${names}: no problem found`);
    for (const note of notes) print(io, `\nnote: ${formatted(note)}`);
    return 0;
  }
  print(io, `${names}: ${problems.length === 1 ? 'one problem' : `${problems.length} problems`} found`);
  for (const problem of problems) print(io, `\n${formatted(problem)}`);
  for (const note of notes) print(io, `\nnote: ${formatted(note)}`);
  return 1;
}

function formatted({ kind, where, message, fix }: Problem): string {
  return `${kind}: ${where}\n  ${message}\n  fix: ${fix}`;
}

function exportedServices(file: string, module: Readonly<Record<string, unknown>>): Class[] {
  const services = new Set(Object.values(module).flatMap(servicesIn));
  if (services.size > 0) return [...services];
  throw new UsageError(`${file} exports no class with @Service: name the module that does`);
}

function namedExport(file: string, module: Readonly<Record<string, unknown>>, name: string): Class[] {
  if (!Object.hasOwn(module, name)) {
    throw new UsageError(`${file} exports no "${name}".${didYouMean(name, Object.keys(module))}`);
  }
  const services = servicesIn(module[name]);
  if (services.length > 0) return services;
  throw new UsageError(`"${name}" of ${file} is neither a class with @Service nor a list of them`);
}

/** The service classes that an exported value is, or is a list of. */
function servicesIn(value: unknown): Class[] {
  if (Array.isArray(value)) return value.flatMap(servicesIn);
  return typeof value === 'function' && serviceOf(value) ? [value as Class] : [];
}
