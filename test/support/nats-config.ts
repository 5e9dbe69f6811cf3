import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const folder = mkdtempSync(join(tmpdir(), 'tenon-nats-config-'));
process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
let files = 0;

/** A file of configuration for a nats-server: what its arguments do not say, as users and limits. */
export class NatsConfig {
  readonly path = join(folder, `${(files += 1)}.conf`);

  constructor(text: string) {
    this.write(text);
  }

  /** The arguments with which a server reads it. */
  get args(): readonly string[] {
    return ['--config', this.path];
  }

  /** Writes it anew. A server reads it again at SIGHUP. */
  write(text: string): void {
    writeFileSync(this.path, text);
  }
}
