import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll } from '@jest/globals';

import type { Certified } from './certificates.ts';

/** A folder for the files of a suite, which is removed after it. It is made inside `describe`, or at the top. */
export class TestFolder {
  readonly path: string;

  constructor(name: string) {
    this.path = mkdtempSync(join(tmpdir(), `tenon-${name}-`));
    afterAll(() => rmSync(this.path, { recursive: true }));
  }

  /** Writes a file, or replaces it. Returns its path. */
  write(name: string, text: string): string {
    const file = join(this.path, name);
    writeFileSync(file, text);
    return file;
  }

  /** Writes a certificate and its key, each into a file. */
  writePair(name: string, { cert, key: keyText }: Certified): { readonly certFile: string; readonly keyFile: string } {
    return { certFile: this.write(`${name}.crt`, cert), keyFile: this.write(`${name}.key`, keyText) };
  }
}
