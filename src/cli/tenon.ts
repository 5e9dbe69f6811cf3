#!/usr/bin/env node
import { runCli } from './program.ts';

const controller = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => controller.abort());

const { stdin, stdout, stderr, env } = process;
// Whoever reads the output may have seen enough, as `head` has.
stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit(0);
});
void runCli(process.argv.slice(2), { stdin, stdout, stderr, env, cwd: process.cwd(), signal: controller.signal }).then(
  (code) => {
    // A verified module may keep the process alive, so it exits explicitly, after its output was flushed.
    stdout.write('', () => process.exit(code));
  },
);
