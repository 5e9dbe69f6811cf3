import { Command, CommanderError } from 'commander';

import { TenonError, textOf } from '../errors/errors.ts';
import { escaped } from '../logger/internal/text.ts';
import { type CliIo, Cancelled, UsageError } from './io.ts';
import type { RedriveCommandOptions } from './redrive.ts';
import type { RegistryCommandOptions } from './registry.ts';
import { packageVersion } from './samples.ts';

/**
 * Runs the command with `args` (without node and script) and resolves to its exit code: 0 on success, 1 on a failure or
 * if problems were found, 2 for wrong arguments, 130 if the user cancelled. Never rejects.
 */
export async function runCli(args: readonly string[], io: CliIo): Promise<number> {
  let code = 0;
  const program = makeProgram(io, await packageVersion(), (exitCode) => (code = exitCode));
  try {
    await program.parseAsync([...args], { from: 'user' });
    return code;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    if (io.signal?.aborted === true || error instanceof Cancelled) {
      io.stderr.write('tenon: cancelled, and nothing was written\n');
      return 130;
    }
    io.stderr.write(`tenon: ${printable(textOf(error))}\n`);
    // Any other error comes from the user's module, or is a bug here: its stack shows where.
    if (!TenonError.is(error) && !(error instanceof UsageError) && error instanceof Error)
      io.stderr.write(`${printable(error.stack ?? '')}\n`);
    return error instanceof UsageError ? 2 : 1;
  }
}

function makeProgram(io: CliIo, version: string, exitWith: (code: number) => void): Command {
  const program = new Command('tenon')
    .description('Services in TypeScript whose transport, registry and broker are bindings')
    .version(version)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => void io.stdout.write(text),
      writeErr: (text) => void io.stderr.write(text),
      outputError: (text, write) => write(text.replace(/^error: /, 'tenon: ')),
    })
    .showHelpAfterError('(tenon --help lists commands and options)');
  program
    .command('new')
    .description('make a project from a sample')
    .argument('[name]', 'name of the project, as npm takes it')
    .option('-s, --sample <sample>', 'sample to start from')
    .option('-d, --dir <folder>', 'where to write it (default: a folder of the same name)')
    .option('--tenon <spec>', 'how it depends on tenon: a version, a range, or file:<tarball> (default: this version)')
    .option('--dry-run', 'list the files that would be written, and write nothing')
    .option('-l, --list', 'list the samples')
    .action(async (name: string | undefined, options: Record<string, never>) => {
      const { newProject } = await import('./new.ts');
      await newProject(io, { name, ...options });
    });
  program
    .command('verify')
    .description('check how a service is put together, without starting it')
    .argument('<module>', 'compiled module that exports classes with @Service: dist/greeter.js')
    .option('-e, --export <name>', 'check only this export')
    .option('-p, --profile <profile>', 'profile to check it under (default: $TENON_PROFILE, else dev)')
    .action(async (module: string, options: { readonly export?: string; readonly profile?: string }) => {
      const { verifyModule } = await import('./verify.ts');
      exitWith(await verifyModule(io, module, options));
    });
  for (const [verb, what] of [
    ['services', 'list the services of the registry, or the nodes of one'],
    ['watch', 'follow the changes of the registry, until it is interrupted'],
  ] as const)
    program
      .command(verb)
      .description(what)
      .argument('[service]', 'only this service')
      .option('-p, --profile <profile>', 'profile that chooses the registry (default: $TENON_PROFILE, else dev)')
      .option('-m, --module <module>', 'compiled module that exports options, for a registry that they bind')
      .option('--json', verb === 'watch' ? 'print a line of JSON for each change' : 'print the records as JSON')
      .action(async (service: string | undefined, options: RegistryCommandOptions) => {
        if (verb === 'watch') {
          const { watchServices } = await import('./watch.ts');
          exitWith(await watchServices(io, service, options));
        } else {
          const { printServices } = await import('./services.ts');
          exitWith(await printServices(io, service, options));
        }
      });
  program
    .command('redrive')
    .description('publish dead letters again, each to the topic from which it came')
    .argument('<topic>', 'the topic of the dead letters: orders.dead-letter')
    .option('-q, --queue <queue>', 'queue that has the dead letters, on a broker that does not keep them for all')
    .option('-t, --to <topic>', 'publish all of them to this topic')
    .option('-l, --limit <count>', 'publish at most so many')
    .option('-r, --reason <reason>', 'only those with this tenon-dead-letter-reason')
    .option('-p, --profile <profile>', 'profile that chooses the broker (default: $TENON_PROFILE, else dev)')
    .option('-m, --module <module>', 'compiled module that exports options, for a broker that they bind')
    .action(async (topic: string, options: RedriveCommandOptions) => {
      const { redriveTopic } = await import('./redrive.ts');
      await redriveTopic(io, topic, options);
    });
  program
    .command('env')
    .description('print every environment variable that is read, as an .env file')
    .action(async () => {
      const { envExample } = await import('../app/config.ts');
      io.stdout.write(envExample());
    });
  return program;
}

/** A server may have written a part of an error: nothing in it acts upon the terminal. */
function printable(text: string): string {
  return text.split('\n').map(escaped).join('\n');
}
