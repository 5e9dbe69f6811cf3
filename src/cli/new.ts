import { relative, resolve } from 'node:path';

import { didYouMean } from '../internal/suggest.ts';
import { askName, askSample } from './prompts.ts';
import { type CliIo, isInteractive, print, UsageError } from './io.ts';
import { checkFolder, folderName, nameProblem, type ProjectPlan, projectFiles, writeProject } from './project.ts';
import { listSamples, packageVersion, type Sample } from './samples.ts';

/** Arguments of `tenon new`. */
export interface NewOptions {
  readonly name?: string | undefined;
  readonly sample?: string | undefined;
  readonly dir?: string | undefined;
  readonly tenon?: string | undefined;
  readonly dryRun?: boolean | undefined;
  readonly list?: boolean | undefined;
}

/** Makes a project from a sample, or only lists or prints what would be made. */
export async function newProject(io: CliIo, options: NewOptions): Promise<void> {
  const samples = await listSamples();
  if (options.list === true) return listLines(samples).forEach((line) => print(io, line));
  const plan = await planFrom(io, options, samples);
  await checkFolder(plan.folder);
  const files = await projectFiles(plan);
  const shown = relative(io.cwd, plan.folder) || '.';
  if (options.dryRun === true) {
    print(io, `${plan.name}, from the sample "${plan.sample.name}", would be written to ${shown}:`);
    for (const { path, content } of files) print(io, `  ${path} (${Buffer.byteLength(content)} bytes)`);
    return;
  }
  await writeProject(plan.folder, files, io.signal);
  print(io, `${plan.name}, from the sample "${plan.sample.name}", is in ${shown}: ${files.length} files. Next:`);
  for (const command of [...(shown === '.' ? [] : [`cd ${shown}`]), 'npm install', 'npm test', 'npm start'])
    print(io, `  ${command}`);
}

async function planFrom(io: CliIo, options: NewOptions, samples: readonly Sample[]): Promise<ProjectPlan> {
  // Arguments are checked before the first question.
  const given = options.sample === undefined ? undefined : findSample(options.sample, samples);
  if (options.name !== undefined) checkName(options.name);
  if (!isInteractive(io)) {
    if (options.name === undefined)
      throw new UsageError('the name of the project is missing: tenon new my-service --sample hello');
    if (!given) {
      throw new UsageError(
        `the sample to start from is missing: tenon new ${options.name} --sample ${nameList(samples)} (tenon new --list describes them)`,
      );
    }
  }
  const name = options.name ?? (await askName(io));
  const sample = given ?? (await askSample(io, samples));
  return {
    name,
    sample,
    folder: resolve(io.cwd, options.dir ?? folderName(name)),
    tenon: options.tenon ?? `^${await packageVersion()}`,
  };
}

function findSample(name: string, samples: readonly Sample[]): Sample {
  const sample = samples.find((candidate) => candidate.name === name);
  if (sample) return sample;
  const names = samples.map((candidate) => candidate.name);
  throw new UsageError(`there is no sample "${name}": take ${nameList(samples)}.${didYouMean(name, names)}`);
}

function checkName(name: string): void {
  const problem = nameProblem(name);
  if (problem !== undefined) throw new UsageError(`"${name}" cannot be the name of a package: ${problem}`);
}

function nameList(samples: readonly Sample[]): string {
  return samples.map((sample) => sample.name).join(' | ');
}

function listLines(samples: readonly Sample[]): string[] {
  const width = Math.max(...samples.map((sample) => sample.name.length));
  return samples.map((sample) => `${sample.name.padEnd(width)}  ${sample.description}`);
}
