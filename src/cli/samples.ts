import { readdir, readFile } from 'node:fs/promises';
import { join, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The folder of tenon's own package: two levels up from `src/cli` as from `dist/cli`. */
export const packageFolder: string = fileURLToPath(new URL('../../', import.meta.url));

/** A project in the package that `tenon new` copies. */
export interface Sample {
  readonly name: string;
  /** One line about the sample, from its package.json. */
  readonly description: string;
  readonly folder: string;
}

const notCopied = new Set(['node_modules', 'dist', 'package-lock.json', '.gitignore']);

/** Lists the samples under `folder`, sorted by name. */
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

/** Lists the files that a new project copies from a sample: sorted paths relative to it, with forward slashes. */
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

/** Reads the version of tenon's package. */
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
