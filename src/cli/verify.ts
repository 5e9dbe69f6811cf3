import { existsSync } from 'node:fs';
import { relative, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

import { type AppOptions, type Choice, type Problem, verify, type VerifyReport } from '../app/app.ts';
import { type Class, serviceOf } from '../decorators/decorators.ts';
import { didYouMean } from '../internal/suggest.ts';
import { type CliIo, print, UsageError } from './io.ts';

/** Options of `tenon verify`. */
export interface VerifyOptions {
  readonly export?: string | undefined;
  readonly profile?: string | undefined;
}

/** Verifies the services that a module exports, and prints the report. Resolves to the exit code. */
export async function verifyModule(io: CliIo, path: string, options: VerifyOptions): Promise<number> {
  const file = resolve(io.cwd, path);
  const shown = relative(io.cwd, file);
  if (!existsSync(file)) throw new UsageError(`there is no file ${shown}: name a compiled module, such as dist/app.js`);
  if (/\.[cm]?tsx?$/.test(file))
    throw new UsageError(`${shown} is TypeScript: name the module that the compiler writes, such as dist/app.js`);
  const module = (await import(pathToFileURL(file).href)) as Readonly<Record<string, unknown>>;
  const services =
    options.export === undefined ? exportedServices(shown, module) : namedExport(shown, module, options.export);
  const given = (module['options'] ?? {}) as AppOptions;
  const report = await verify(services, {
    ...given,
    ...(options.profile !== undefined && { profile: options.profile, env: given.env ?? process.env }),
  });
  print(io, reportText(services.map((service) => service.name).join(', '), report));
  return report.problems.length === 0 ? 0 : 1;
}

/** The text of a report: the verdict, each problem and note with its fix, and the table of choices. */
function reportText(names: string, { problems, notes, choices }: VerifyReport): string {
  const count = ['no problem', 'one problem'][problems.length] ?? `${problems.length} problems`;
  return [
    `${names}: ${count} found`,
    ...problems.map(formatted),
    ...notes.map((note) => `${note.level === 'warn' ? 'warning' : 'note'}: ${formatted(note)}`),
    ...(choices.length > 0 ? [choiceTable(choices)] : []),
  ].join('\n\n');
}

// A longer cell is not padded for: only its own line is shifted.
const maxWidth = 48;

/** A table with a line per choice, bindings before options: its name, its value, and its origin. */
function choiceTable(choices: readonly Choice[]): string {
  const rows = choices.map(({ name, value, origin }) => [name, value, origin] as const);
  const widthOf = (column: 0 | 1): number =>
    Math.max(...rows.map((row) => row[column].length).filter((width) => width <= maxWidth));
  const widths = [widthOf(0), widthOf(1)];
  const lines = rows.map((row) => row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  '));
  const bindings = choices.filter(({ kind }) => kind !== 'option').length;
  return [lines.slice(0, bindings), lines.slice(bindings)].map((part) => part.join('\n')).join('\n\n');
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

/** The service classes in an exported value, which is a class or a list of classes. */
function servicesIn(value: unknown): Class[] {
  if (Array.isArray(value)) return value.flatMap(servicesIn);
  return typeof value === 'function' && serviceOf(value) ? [value as Class] : [];
}
