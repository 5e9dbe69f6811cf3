#!/usr/bin/env node
import { runCli } from './program.ts';

const controller = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => controller.abort());

const { stdin, stdout, stderr, env } = process;
void runCli(process.argv.slice(2), { stdin, stdout, stderr, env, cwd: process.cwd(), signal: controller.signal }).then(
  (code) => {
    // A module that was loaded to be verified may have left something open; what was written goes out first.
    stdout.write('', () => process.exit(code));
  },
);
