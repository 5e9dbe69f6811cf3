import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { inject, injectable } from 'inversify';
import { Clock, Random, Timers } from 'tenon';
import type { Registry, RegistryCapabilities } from 'tenon/registry';
import {
  BrokenRecords,
  decodeNode,
  DrivenRegistry,
  type DriverFailure,
  type DriverSettings,
  type DriverTools,
  encodeNode,
  type LeasedNode,
  pathPart,
  type Registration,
  type RegistryDriver,
  type Snapshot,
} from 'tenon/registry/kit';

/** Container key of the folder that every machine of the environment can reach. */
export const RegistryFolder = Symbol.for('environments.RegistryFolder');

/**
 * A registry of one's own: a folder that all machines share, with a file per node. It needs no server; it is as good as
 * the folder and the clocks of the machines.
 */
@injectable()
export class FolderRegistry extends DrivenRegistry<DriverSettings> implements Registry {
  static readonly capabilities: RegistryCapabilities = { expires: true, shared: true, watches: true };

  constructor(
    @inject(RegistryFolder) folder: string,
    @inject(Clock) clock: Clock,
    @inject(Timers) timers: Timers,
    @inject(Random) random: Random,
  ) {
    const spec = {
      name: 'folder',
      capabilities: FolderRegistry.capabilities,
      optionsName: 'FolderRegistryOptions',
      open: ({ address = folder }: DriverSettings, tools: DriverTools) => new FolderDriver(address, tools),
    };
    super(spec, { address: folder }, { clock, timers, random });
  }
}

/** A file has the time at which its node is forgotten, and below it the record of the service with this node alone. */
class FolderDriver implements RegistryDriver {
  readonly server: string;
  // Looking again and again works on every shared disk; notifications of the file system stay on the machine that
  // wrote.
  readonly bounds = { maxReadMs: 100, maxRecordBytes: 1_048_576 };
  readonly #broken: BrokenRecords;

  constructor(
    private readonly folder: string,
    private readonly tools: DriverTools,
  ) {
    this.server = `the folder ${folder}`;
    this.#broken = new BrokenRecords(tools.logger);
  }

  async announce({ service, node, ttlMs }: Registration): Promise<void> {
    await mkdir(this.folder, { recursive: true });
    // Written aside and moved into place: no one ever reads half of it.
    const draft = join(this.folder, `${this.tools.random.uuid()}.draft`);
    await writeFile(draft, `${this.tools.clock.now() + ttlMs}\n${encodeNode(service, node)}`);
    await rename(draft, this.#fileOf(service.name, node.id));
  }

  async withdraw(service: string, id: string): Promise<void> {
    await rm(this.#fileOf(service, id), { force: true });
  }

  async read(): Promise<Snapshot> {
    await mkdir(this.folder, { recursive: true });
    const names = (await readdir(this.folder)).filter((name) => name.endsWith('.node'));
    const found = await Promise.all(names.map((name) => this.#readFile(join(this.folder, name))));
    return { nodes: found.filter((node) => node !== undefined) };
  }

  failure(): DriverFailure {
    return { kind: 'unreachable', remedy: 'TENON_REGISTRY_ADDRESS says where the folder is' };
  }

  async #readFile(path: string): Promise<LeasedNode | undefined> {
    // One that is gone was taken back a moment ago.
    const [lapses = '', record = ''] = (await readFile(path, 'utf8').catch(() => '')).split('\n', 2);
    const leaseMs = Number(lapses) - this.tools.clock.now();
    const service = leaseMs > 0 && this.#broken.read(path, () => decodeNode(record, this.bounds.maxRecordBytes));
    return service ? { service, leaseMs } : undefined;
  }

  #fileOf(service: string, id: string): string {
    return join(this.folder, `${[service, id].map(pathPart).join('+')}.node`);
  }
}
