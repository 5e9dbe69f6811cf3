import { readdir, readFile } from 'node:fs/promises';
import { join, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The package this file belongs to: the same two steps up from `src/cli` and from `dist/cli`. */
export const packageFolder: string = fileURLToPath(new URL('../../', import.meta.url));

/** A project that comes with the package, to be copied. */
export interface Sample {
  readonly name: string;
  /** One line. */
  readonly description: string;
  readonly folder: string;
}

const notCopied = new Set(['node_modules', 'dist', 'package-lock.json', '.gitignore']);

/** The samples under `folder`, by name. */
export async function listSamples(folder: string = join(packageFolder, 'samples')): Promise<readonly Sample[]> {
  const entries = await readdir(folder, { withFileTypes: true });
  const samples = entries
    .filter((entry) => entry.isDirectory())
    .map(async ({ name }): Promise<Sample | undefined> => {
      const manifest = await readManifest(join(folder, name));
      return manifest && { name, description: manifest.description ?? '', folder: join(folder, name) };
    });
  return (await Promise.all(samples))
    .filter((sample) => sample !== undefined)
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** What a new project takes from a sample: paths relative to it, with forward slashes, sorted. */
export async function sampleFiles(sample: Sample): Promise<readonly string[]> {
  const files: string[] = [];
  const walk = async (folder: string): Promise<void> => {
    for (const entry of await readdir(folder, { withFileTypes: true })) {
      if (notCopied.has(entry.name)) continue;
      const path = join(folder, entry.name);
      if (entry.isDirectory()) await walk(path);
      else if (entry.isFile()) files.push(relative(sample.folder, path).split(sep).join('/'));
    }
  };
  await walk(sample.folder);
  return files.sort();
}

/** The version of this package. */
export async function packageVersion(): Promise<string> {
  return (await readManifest(packageFolder))?.version ?? '';
}

interface Manifest {
  readonly version?: string;
  readonly description?: string;
}

async function readManifest(folder: string): Promise<Manifest | undefined> {
  try {
    return JSON.parse(await readFile(join(folder, 'package.json'), 'utf8')) as Manifest;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
