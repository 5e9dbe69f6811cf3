import { Code, TenonError, textOf } from '../errors/errors.ts';
import type { KafkaLibrary } from './kafka.ts';

/** The npm package that speaks to Kafka on a version of Node: `22.22.0`. */
export function libraryFor(nodeVersion: string = process.versions.node): '@platformatic/kafka' | 'kafkajs' {
  const [major = 0, minor = 0] = nodeVersion.split('.').map(Number);
  const takes = major === 22 ? minor >= 22 : major === 24 ? minor >= 6 : major > 24;
  return takes ? '@platformatic/kafka' : 'kafkajs';
}

/** Loads that package. Rejects with FAILED_PRECONDITION (`app.package_missing`) if it is not installed. */
export async function loadLibrary(name: ReturnType<typeof libraryFor> = libraryFor()): Promise<KafkaLibrary> {
  try {
    if (name === 'kafkajs') return (await import('./kafkajs.ts')).kafkajs();
    return await (await import('./platformatic.ts')).platformatic();
  } catch (cause) {
    throw new TenonError({
      code: Code.FailedPrecondition,
      reason: 'app.package_missing',
      message: `Kafka needs the package ${name} on Node ${process.versions.node}, and it cannot be loaded (${textOf(cause)}): npm install ${name}`,
      cause,
    });
  }
}
