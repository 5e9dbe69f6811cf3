import type { Binding, BindingService } from '@inversifyjs/core';
import type { ServiceIdentifier } from 'inversify';

import { Broker, type BrokerCapabilities } from '../broker/broker.ts';
import { Client } from '../client/client.ts';
import { DefaultMarshaler } from '../codec/codec.ts';
import { type Class, handlerOf, serviceOf } from '../decorators/decorators.ts';
import { Code, TenonError } from '../errors/errors.ts';
import { Logger } from '../logger/logger.ts';
import { Registry, type RegistryCapabilities } from '../registry/registry.ts';
import { ServiceRuntime } from '../service/service.ts';
import type { Choice } from './choices.ts';
import { classesOf, type Composition, compose } from './compose.ts';
import { clientSourceOf, describeClient, type Problem } from './describe.ts';
import { backendNotes } from './internal/backend-notes.ts';
import { allBindings, bindingsOf, dependenciesOf } from './internal/bindings.ts';
import { capabilitiesBoundTo, classBoundTo, type KnownOptions } from './internal/capabilities.ts';
import { checkOptions, constantOptions } from './internal/check-options.ts';
import { checkServices, unexpectedServiceNames } from './internal/check-services.ts';
import { checkEnhancers } from './internal/check-enhancers.ts';
import { checkWiring } from './internal/check-wiring.ts';
import { keyName } from './internal/keys.ts';
import { listChoices } from './internal/list-choices.ts';
import { misspeltVariables } from './internal/misspelt-variables.ts';
import { constantServiceOptions } from './internal/service-options.ts';
import { enhancerKeysOf } from './internal/enhancers.ts';
import { type AppOptions, environmentOf } from './options.ts';

/** A finding of `verify` that is not wrong, and perhaps not intended. */
export interface Note extends Problem {
  /**
   * The level at which a start logs it: `warn` if something that was configured has no effect, or a backend says that
   * it may do harm, else `info`.
   */
  readonly level: 'info' | 'warn';
}

/** The result of `verify`. */
export interface VerifyReport {
  readonly ok: boolean;
  /** All problems. */
  readonly problems: readonly Problem[];
  /** Findings that are not problems, such as options and variables without effect. */
  readonly notes: readonly Note[];
  /**
   * The profile, every binding and every option in force, with their origins. Empty if the configuration cannot be
   * read.
   */
  readonly choices: readonly Choice[];
  /** The number of bindings that were checked. */
  readonly bindings: number;
  /** Names of keys bound to dynamic values or factories, whose dependencies are unknown before they run. */
  readonly opaque: readonly string[];
}

/**
 * Checks how an application is put together under a profile, without constructing anything: missing, ambiguous and
 * cyclic bindings, handlers that disagree with their `.proto`, two handlers for one method, subscriptions that the
 * bound broker cannot serve, and more (docs/app.md lists all). A start runs the same checks, and fails if they find
 * problems.
 *
 * Resolves to a report even if there are problems; a configuration that cannot be read, or a missing package, is a
 * problem too. Rejects only with errors that modules or profiles of the application throw.
 */
export async function verify(services: readonly Class[], options: AppOptions = {}): Promise<VerifyReport> {
  try {
    const composition = await compose(services, options);
    return { ...inspect(composition), choices: listChoices(bindingsOf(composition.container), composition) };
  } catch (error) {
    if (!TenonError.is(error) || !(error.reason === 'config.invalid' || error.reason === 'app.package_missing'))
      throw error;
    const fix = 'npx tenon env lists every variable with its values';
    const problem = { kind: 'configuration', where: 'the environment', message: error.message, fix };
    const notes = misspeltVariables(environmentOf(options)).map(noteOf);
    return { ok: false, problems: [problem], notes, choices: [], bindings: 0, opaque: [] };
  }
}

/**
 * Checks a composition and returns its notes. Throws FAILED_PRECONDITION (`app.verify_failed`) with all problems, if
 * there are any.
 */
export function assertVerified(composition: Composition): readonly Note[] {
  const { ok, problems, notes } = inspect(composition);
  if (ok) return notes;
  const names = composition.services.map((service) => (typeof service === 'function' ? service.name : String(service)));
  throw new TenonError({
    code: Code.FailedPrecondition,
    reason: 'app.verify_failed',
    message: `${names.join(', ') || 'the application'} cannot start: ${formatProblems(problems)}`,
  });
}

/** Formats problems for people: numbered, each with its place and its fix. */
export function formatProblems(problems: readonly Problem[]): string {
  const listed = problems.map(
    ({ kind, where, message, fix }, index) => `${index + 1}. ${kind} at ${where}\n   ${message}\n   fix: ${fix}`,
  );
  return [problems.length === 1 ? 'one problem' : `${problems.length} problems`, ...listed].join('\n');
}

function inspect(composition: Composition): Omit<VerifyReport, 'choices'> {
  const bindings = bindingsOf(composition.container);
  const all = allBindings(bindings);
  const classes = classesOf(composition.services);
  const enhancers = classes.flatMap((target) => enhancerKeysOf(target));
  const roots = [...handlersOf(composition.services), ServiceRuntime, Client, Logger] as readonly ServiceIdentifier[];
  const { services, options, boundBy, config } = composition;
  const optionsOf: KnownOptions = (key) => constantOptions(bindings, options, key as ServiceIdentifier<object>);
  const found = checkOptions(bindings, { options, boundBy, config, serves: services.length > 0 });
  const problems = [
    ...checkServices(composition.services, {
      loadProto: composition.loadProto,
      options: constantServiceOptions(config, composition.options, bindings).stronger,
      broker: boundBackend<BrokerCapabilities>(bindings, Broker, optionsOf),
      registry: boundBackend<RegistryCapabilities>(bindings, Registry, optionsOf),
      codec: classBoundTo(bindings, DefaultMarshaler)?.name,
    }),
    ...checkClients(all, composition),
    ...checkEnhancers(classes, bindings),
    ...found.problems,
    ...checkWiring(bindings, roots, composition.undecorated, enhancers),
  ];
  const distinct = [...new Map(problems.map((problem) => [JSON.stringify(problem), problem])).values()];
  return {
    ok: distinct.length === 0,
    problems: distinct,
    notes: [
      ...composition.misspelt,
      ...found.notes,
      ...unexpectedServiceNames(composition.servicesByHandler, namesItsService(classes)),
      ...backendNotes(bindings),
    ].map(noteOf),
    bindings: all.length,
    opaque: opaqueKeys(all, composition),
  };
}

const warnings: ReadonlySet<string> = new Set(['misspelt-variable', 'unused-variable']);

function noteOf(found: Problem): Note {
  return { level: warnings.has(found.kind) ? 'warn' : 'info', ...found };
}

/** Lists the problems of typed clients that are injected somewhere. */
function checkClients(all: readonly Binding[], { loadProto }: Composition): readonly Problem[] {
  const sources = all.flatMap((binding) => {
    const needs = dependenciesOf(binding);
    return 'dependencies' in needs ? needs.dependencies.map(({ identifier }) => clientSourceOf(identifier)) : [];
  });
  return [...new Set(sources)].flatMap((source) =>
    source === undefined ? [] : describeClient(source, loadProto).problems,
  );
}

/** Makes a test of whether a handler names the service that its callers look up. */
function namesItsService(classes: readonly Class[]): (handler: string) => boolean {
  const records = classes.map((target) => handlerOf(target));
  return (name) => records.some((record) => record?.name === name && record.service !== undefined);
}

function handlersOf(services: readonly Class[]): readonly Class[] {
  return services
    .flatMap((service) => (typeof service === 'function' ? (serviceOf(service)?.handlers ?? []) : []))
    .filter((handler) => typeof handler === 'function');
}

function boundBackend<T extends object>(
  bindings: BindingService,
  key: ServiceIdentifier,
  optionsOf: KnownOptions,
): { name: string; capabilities: T } | undefined {
  const capabilities = capabilitiesBoundTo<T>(bindings, key, optionsOf);
  return (
    capabilities && { name: classBoundTo(bindings, key)?.name ?? `what is bound to ${keyName(key)}`, capabilities }
  );
}

function opaqueKeys(all: readonly Binding[], { undecorated }: Composition): readonly string[] {
  const opaque = all.filter(
    ({ type, serviceIdentifier }) =>
      (type === 'DynamicValue' || type === 'Factory') && !undecorated.has(serviceIdentifier),
  );
  return [...new Set(opaque.map((binding) => keyName(binding.serviceIdentifier)))];
}
