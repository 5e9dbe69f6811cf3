import { readFileSync } from 'node:fs';

import { TenonError, textOf } from '../../errors/errors.ts';
import { type ServiceConfig, ServicePolicies } from '../../interceptors/service-config.ts';
import { systemRuntime } from '../../runtime/system.ts';

/** Reads a service config from JSON text, or from the path of a file with it. Describes the problem if that fails. */
export function readServiceConfig(text: string): { readonly value: ServiceConfig } | { readonly problem: string } {
  const isText = text.trimStart().startsWith('{');
  try {
    const value = JSON.parse(isText ? text : readFileSync(text, 'utf8')) as ServiceConfig;
    // Constructed only to validate it now, with the rest of the configuration, and not when a client is made.
    void new ServicePolicies(value, systemRuntime);
    return { value };
  } catch (error) {
    const where = isText ? 'the JSON' : `the file ${text}`;
    return { problem: TenonError.is(error) ? error.message : `${where} cannot be read: ${textOf(error)}` };
  }
}
