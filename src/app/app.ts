export type { Backends } from './backends.ts';
export { type BackendChoice, type Config } from './config.ts';
export { type Problem } from './describe.ts';
export { type AppOptions } from './options.ts';
export { type Profile } from './profiles.ts';
export { run, type RunOptions } from './run.ts';
export { System } from './system.ts';
export { wrap } from './wrap.ts';
export { verify, type VerifyReport } from './verify.ts';
