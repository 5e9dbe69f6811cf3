import { type CliIo, Cancelled } from './io.ts';
import { nameProblem } from './project.ts';
import type { Sample } from './samples.ts';

/** Asks for the name of the project. The library of prompts is loaded only when there is something to ask. */
export async function askName(io: CliIo): Promise<string> {
  const { isCancel, text } = await import('@clack/prompts');
  const answer = await text({
    message: 'What is the project called?',
    placeholder: 'my-service',
    validate: (name) => nameProblem(name ?? ''),
    ...channels(io),
  });
  if (isCancel(answer)) throw new Cancelled();
  return answer;
}

/** Asks for the sample to start from. */
export async function askSample(io: CliIo, samples: readonly Sample[]): Promise<Sample> {
  const { isCancel, select } = await import('@clack/prompts');
  const answer = await select({
    message: 'Which sample do you start from?',
    options: samples.map(({ name, description }) => ({ value: name, label: name, hint: description })),
    ...channels(io),
  });
  if (isCancel(answer)) throw new Cancelled();
  return samples.find((sample) => sample.name === answer) as Sample;
}

function channels(io: CliIo): { input: CliIo['stdin']; output: CliIo['stdout']; signal?: AbortSignal } {
  return { input: io.stdin, output: io.stdout, ...(io.signal && { signal: io.signal }) };
}
