// A registry of an application, in a module of its own: a folder with a file for each node. Its first line is the time at
// which the lease ends, the second the record.
import { injectable } from 'inversify';
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isMainThread } from 'node:worker_threads';

import { decodeNode, DrivenRegistry, encodeNode } from '../../../dist/registry/kit/kit.js';

class FolderDriver {
  server = 'a folder';
  bounds = { maxReadMs: 100 };
  constructor(folder, { clock, random }) {
    Object.assign(this, { folder, clock, random });
  }

  async announce({ service, node, ttlMs }) {
    await mkdir(this.folder, { recursive: true });
    const draft = join(this.folder, this.random.uuid());
    const thread = isMainThread ? 'main' : 'worker';
    await writeFile(draft, `${this.clock.now() + ttlMs} ${thread}\n${encodeNode(service, node)}`);
    await rename(draft, join(this.folder, `${node.id}.node`));
  }

  async withdraw(_service, id) {
    await rm(join(this.folder, `${id}.node`), { force: true });
  }

  async read() {
    const files = (await readdir(this.folder)).filter((name) => name.endsWith('.node'));
    const texts = await Promise.all(files.map((name) => readFile(join(this.folder, name), 'utf8').catch(() => '0\n')));
    return {
      nodes: texts.flatMap((text) => {
        const [first, record] = text.split('\n');
        const leaseMs = Number.parseInt(first, 10) - this.clock.now();
        return leaseMs > 0 ? [{ service: decodeNode(record, 1_000_000), leaseMs }] : [];
      }),
    };
  }

  failure() {
    return { kind: 'unreachable', remedy: 'look at the folder' };
  }
}

const capabilities = { expires: true, shared: true, watches: true, transferable: true };

/** Makes a class of such registries. */
function folderRegistry(stated) {
  class FolderRegistry extends DrivenRegistry {
    static capabilities = stated;
    constructor() {
      const open = ({ address }, tools) => new FolderDriver(address, tools);
      super({ name: 'folder', capabilities: stated, optionsName: 'FolderRegistryOptions', open }, {});
    }
  }
  injectable()(FolderRegistry);
  return FolderRegistry;
}

export const FolderRegistry = folderRegistry({ ...capabilities, module: import.meta.url });

/** Says nothing of its module. */
export const Unnamed = folderRegistry(capabilities);

/** Names a module that does not export it. */
export const Misnamed = folderRegistry({
  ...capabilities,
  module: new URL('../../../dist/errors/errors.js', import.meta.url).href,
});

/** Makes one that names any module. */
export function registryOf(module) {
  return folderRegistry({ ...capabilities, module });
}
