import { mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { isBuiltin } from 'node:module';
import { basename, dirname, join } from 'node:path';

import { Code, TenonError, textOf } from '../errors/errors.ts';
import { type Sample, sampleFiles } from './samples.ts';

/** The parts that a new project is made from. */
export interface ProjectPlan {
  /** Name of the npm package. */
  readonly name: string;
  readonly sample: Sample;
  /** Absolute path of the folder to make. */
  readonly folder: string;
  /** The project's dependency on tenon, as package.json has it: `^0.1.0`, or `file:` and a tarball. */
  readonly tenon: string;
}

/** A file of a new project. `path` is relative to the project, with forward slashes. */
export interface ProjectFile {
  readonly path: string;
  readonly content: Uint8Array | string;
}

/**
 * Describes what is wrong with `name` as the name of a new npm package; `undefined` if nothing is (npm's documentation
 * of package.json, "name").
 */
export function nameProblem(name: string): string | undefined {
  const bare = name.replace(/^@[^/]*\//, '');
  if (name === '') return 'it is empty';
  if (name.length > 214) return 'it has more than 214 characters';
  if (name !== name.toLowerCase()) return `it has upper-case letters: take "${name.toLowerCase()}"`;
  if (!/^(?:@[a-z0-9-][a-z0-9._-]*\/)?[a-z0-9-][a-z0-9._-]*$/.test(name)) {
    return 'a name begins with a letter or a digit, and has only lower-case letters, digits, "-", "_" and ".", after an optional "@scope/"';
  }
  if (bare === 'node_modules' || bare === 'favicon.ico' || (bare === name && isBuiltin(name)))
    return 'npm does not allow it, as it is the name of a module of Node or of a file that npm uses: take another';
  return undefined;
}

/** The folder name of a project where `--dir` names none: the project's name without its scope. */
export function folderName(name: string): string {
  return basename(name);
}

/**
 * Checks that a project can be written to `folder`. Throws FAILED_PRECONDITION if it is not empty
 * (`cli.folder_not_empty`), or if it is a file or lies in one (`cli.not_a_folder`).
 */
export async function checkFolder(folder: string): Promise<void> {
  const entries = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    if (error.code !== 'ENOTDIR') throw error;
    throw new TenonError({
      code: Code.FailedPrecondition,
      reason: 'cli.not_a_folder',
      message: `${folder} is a file, or lies in one: take another name, or choose another folder with --dir`,
      cause: error,
    });
  });
  if (entries.length === 0) return;
  throw new TenonError({
    code: Code.FailedPrecondition,
    reason: 'cli.folder_not_empty',
    message: `${folder} is not empty, and was left as it is: take another name, choose another folder with --dir, or empty it first`,
  });
}

/** Makes the files of a project in memory, without writing them. */
export async function projectFiles(plan: ProjectPlan): Promise<readonly ProjectFile[]> {
  const files = await Promise.all(
    (await sampleFiles(plan.sample)).map(async (path): Promise<ProjectFile> => {
      const content = await readFile(join(plan.sample.folder, path));
      if (path === 'package.json') return { path, content: adaptManifest(content.toString(), plan) };
      if (path === 'README.md') return { path, content: content.toString().replace(/^# .*$/m, `# ${plan.name}`) };
      return { path, content };
    }),
  );
  // A sample cannot carry this file itself: npm leaves .gitignore files out of packages.
  return [...files, { path: '.gitignore', content: 'node_modules/\ndist/\n' }].sort((a, b) =>
    a.path < b.path ? -1 : 1,
  );
}

/**
 * Writes a project. The files are written next to the folder first and moved into place at the end, so that a failure
 * or an abort leaves nothing behind.
 */
export async function writeProject(folder: string, files: readonly ProjectFile[], signal?: AbortSignal): Promise<void> {
  await checkFolder(folder);
  let firstMade: string | undefined;
  let beside: string | undefined;
  try {
    firstMade = await mkdir(dirname(folder), { recursive: true });
    // Next to the folder, as a rename works only within one file system.
    beside = await mkdtemp(join(dirname(folder), '.tenon-new-'));
    const draft = join(beside, 'project');
    await mkdir(draft);
    for (const { path, content } of files) {
      signal?.throwIfAborted();
      const target = join(draft, path);
      await mkdir(dirname(target), { recursive: true });
      await writeFile(target, content);
    }
    signal?.throwIfAborted();
    await moveInto(folder, draft);
    await rm(beside, { recursive: true });
  } catch (error) {
    for (const made of [beside, firstMade]) if (made !== undefined) await rm(made, { recursive: true, force: true });
    if (signal?.aborted === true) throw error;
    throw new TenonError({
      code: Code.PermissionDenied,
      reason: 'cli.cannot_write',
      message: `${folder} cannot be written, and nothing was written: ${textOf(error)}: choose another folder with --dir`,
      cause: error,
    });
  }
}

async function moveInto(folder: string, draft: string): Promise<void> {
  const isThere = await readdir(folder).then(
    () => true,
    () => false,
  );
  if (!isThere) return rename(draft, folder);
  // An existing folder is kept, as it may be the working directory of a process; the files move into it.
  const moved: string[] = [];
  try {
    for (const entry of await readdir(draft)) {
      await rename(join(draft, entry), join(folder, entry));
      moved.push(entry);
    }
  } catch (error) {
    for (const entry of moved) await rm(join(folder, entry), { recursive: true, force: true });
    throw error;
  }
}

function adaptManifest(text: string, plan: ProjectPlan): string {
  const manifest = JSON.parse(text) as { name: string; version: string; dependencies: Record<string, string> };
  const adapted = {
    ...manifest,
    name: plan.name,
    version: '0.1.0',
    dependencies: { ...manifest.dependencies, tenon: plan.tenon },
  };
  return `${JSON.stringify(adapted, undefined, 2)}\n`;
}
