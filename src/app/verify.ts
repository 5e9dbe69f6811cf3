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
import { allBindings, bindingsOf, needsOf } from './internal/bindings.ts';
import { capabilitiesBoundTo, classBoundTo, type KnownOptions } from './internal/capabilities.ts';
import { checkOptions, constantOptions } from './internal/check-options.ts';
import { checkServices, otherNames } from './internal/check-services.ts';
import { checkEnhancers } from './internal/check-enhancers.ts';
import { checkWiring } from './internal/check-wiring.ts';
import { keyName } from './internal/keys.ts';
import { listChoices } from './internal/list-choices.ts';
import { misspeltVariables } from './internal/misspelt.ts';
import { constantOptionsAround } from './internal/service-options.ts';
import { usedKeys } from './internal/enhancers.ts';
import { type AppOptions, environmentOf } from './options.ts';

/** Something that is not wrong, and perhaps not what was meant. */
export interface Note extends Problem {
  /** `warn`: something was said, and has no effect. `info`: all else. A start logs it at this level. */
  readonly level: 'info' | 'warn';
}

/** What `verify` found. */
export interface VerifyReport {
  readonly ok: boolean;
  /** Everything that is wrong, at once. */
  readonly problems: readonly Problem[];
  /**
   * What is not wrong, but says nothing or does nothing that one might expect: options and variables without effect.
   */
  readonly notes: readonly Note[];
  /**
   * What is in force, and who chose it: the profile, every binding, every option. Empty where the configuration cannot
   * be read.
   */
  readonly choices: readonly Choice[];
  /** How many bindings were looked at. */
  readonly bindings: number;
  /** Keys bound to dynamic values or factories: what those ask the container for cannot be known before they run. */
  readonly opaque: readonly string[];
}

/**
 * Checks how an application is put together under a profile, without constructing anything: missing, ambiguous and
 * cyclic bindings, handlers that disagree with their `.proto`, two handlers for one method, subscriptions that the
 * bound broker cannot serve, and more (docs/app.md lists all). A start does the same, and fails with what it finds.
 *
 * Resolves to a report also when something is wrong; a configuration that cannot be read, or a package that is missing,
 * is a problem like any other. Rejects with what a module or a profile of the application throws.
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
 * The notes on the composition. Throws FAILED_PRECONDITION (`app.verify_failed`) with every problem of it, if there are
 * any.
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

/** The problems as people read them: numbered, each with its place and what to do about it. */
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
  const enhancers = classes.flatMap((target) => usedKeys(target));
  const roots = [...handlersOf(composition.services), ServiceRuntime, Client, Logger] as readonly ServiceIdentifier[];
  const { services, options, boundBy, config } = composition;
  const optionsOf: KnownOptions = (key) => constantOptions(bindings, options, key as ServiceIdentifier<object>);
  const found = checkOptions(bindings, { options, boundBy, config, serves: services.length > 0 });
  const problems = [
    ...checkServices(composition.services, {
      loadProto: composition.loadProto,
      options: constantOptionsAround(config, composition.options, bindings).stronger,
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
    notes: [...composition.misspelt, ...found.notes, ...otherNames(composition.hosts, saysService(classes))].map(
      noteOf,
    ),
    bindings: all.length,
    opaque: opaqueKeys(all, composition),
  };
}

const warnings: ReadonlySet<string> = new Set(['misspelt-variable', 'unused-variable']);

function noteOf(found: Problem): Note {
  return { level: warnings.has(found.kind) ? 'warn' : 'info', ...found };
}

/** The clients that are injected somewhere: what they are made of has to be describable. */
function checkClients(all: readonly Binding[], { loadProto }: Composition): readonly Problem[] {
  const sources = all.flatMap((binding) => {
    const needs = needsOf(binding);
    return 'dependencies' in needs ? needs.dependencies.map(({ identifier }) => clientSourceOf(identifier)) : [];
  });
  return [...new Set(sources)].flatMap((source) =>
    source === undefined ? [] : describeClient(source, loadProto).problems,
  );
}

/** Whether a handler says itself which service its callers are to look for. */
function saysService(classes: readonly Class[]): (handler: string) => boolean {
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
