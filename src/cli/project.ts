import { mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { isBuiltin } from 'node:module';
import { basename, dirname, join } from 'node:path';

import { Code, TenonError, textOf } from '../errors/errors.ts';
import { type Sample, sampleFiles } from './samples.ts';

/** What a new project is made of. */
export interface ProjectPlan {
  /** Name of the npm package. */
  readonly name: string;
  readonly sample: Sample;
  /** Absolute path of the folder to make. */
  readonly folder: string;
  /** How the project depends on tenon: a range (`^0.1.0`), or a `file:` of a tarball. */
  readonly tenon: string;
}

/** A file of a new project: path relative to it, with forward slashes. */
export interface ProjectFile {
  readonly path: string;
  readonly content: Uint8Array | string;
}

/**
 * Why npm would not take `name` for a new package; `undefined` if it would (npm: docs/package.json, "name").
 */
export function nameProblem(name: string): string | undefined {
  const bare = name.replace(/^@[^/]*\//, '');
  if (name === '') return 'it is empty';
  if (name.length > 214) return 'it has more than 214 characters';
  if (name !== name.toLowerCase()) return `it has capital letters: take "${name.toLowerCase()}"`;
  if (!/^(?:@[a-z0-9-][a-z0-9._-]*\/)?[a-z0-9-][a-z0-9._-]*$/.test(name)) {
    return 'a name begins with a letter or a digit, and has only small letters, digits, "-", "_" and ".", after an "@scope/" if you like';
  }
  if (bare === 'node_modules' || bare === 'favicon.ico' || (bare === name && isBuiltin(name)))
    return 'npm keeps it for itself';
  return undefined;
}

/** The folder of a project that named none: its name without the scope. */
export function folderName(name: string): string {
  return basename(name);
}

/** Refuses a folder that has something in it, and a path that is no folder. */
export async function checkFolder(folder: string): Promise<void> {
  const entries = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    if (error.code !== 'ENOTDIR') throw error;
    throw new TenonError({
      code: Code.FailedPrecondition,
      reason: 'cli.not_a_folder',
      message: `${folder} is a file, or lies in one: take another name, or another place with --dir`,
      cause: error,
    });
  });
  if (entries.length === 0) return;
  throw new TenonError({
    code: Code.FailedPrecondition,
    reason: 'cli.folder_not_empty',
    message: `${folder} is not empty, and was left as it is: take another name, another place with --dir, or empty it first`,
  });
}

/** The files of a project, made but not written. */
export async function projectFiles(plan: ProjectPlan): Promise<readonly ProjectFile[]> {
  const files = await Promise.all(
    (await sampleFiles(plan.sample)).map(async (path): Promise<ProjectFile> => {
      const content = await readFile(join(plan.sample.folder, path));
      if (path === 'package.json') return { path, content: adaptManifest(content.toString(), plan) };
      if (path === 'README.md') return { path, content: content.toString().replace(/^# .*$/m, `# ${plan.name}`) };
      return { path, content };
    }),
  );
  // A package cannot carry a file of this name: npm takes it for its own.
  return [...files, { path: '.gitignore', content: 'node_modules/\ndist/\n' }].sort((a, b) =>
    a.path < b.path ? -1 : 1,
  );
}

/**
 * Writes a project. Everything is written beside the folder first and moved into place at the end, so that a failure or
 * an abort leaves nothing behind.
 */
export async function writeProject(folder: string, files: readonly ProjectFile[], signal?: AbortSignal): Promise<void> {
  await checkFolder(folder);
  let firstMade: string | undefined;
  let beside: string | undefined;
  try {
    firstMade = await mkdir(dirname(folder), { recursive: true });
    // Beside the folder, as a move works only within one file system.
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
      message: `${folder} cannot be written, and nothing was: ${textOf(error)}: take another place with --dir`,
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
  // The folder may be someone's working directory: it stays, and its content moves in.
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
