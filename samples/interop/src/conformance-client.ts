import { decode, encode } from './conformance-api.ts';
import { call, type ClientCompatRequest } from './conformance-calls.ts';
import { ConformanceClients } from './conformance-clients.ts';
import { readFrames, writeFrame } from './frames.ts';
import { program } from './settings.ts';

/** Calls that are under way at the same time, at the most. */
const parallel = 16;

await program(async () => {
  const clients = new ConformanceClients();
  const pending = new Set<Promise<void>>();
  for await (const frame of readFrames(process.stdin)) {
    const request = decode<ClientCompatRequest>('ClientCompatRequest', frame);
    const answer = answerTo(request, clients).then((response) => {
      pending.delete(answer);
      writeFrame(process.stdout, encode('ClientCompatResponse', response));
    });
    pending.add(answer);
    if (pending.size >= parallel) await Promise.race(pending);
  }
  await Promise.all(pending);
  await clients.close();
});

/** What a call came to; an error only if it could not be made. */
async function answerTo(request: ClientCompatRequest, clients: ConformanceClients): Promise<object> {
  const { testName } = request;
  try {
    return { testName, response: await call(await clients.for(request), request) };
  } catch (error) {
    return { testName, error: { message: error instanceof Error ? (error.stack ?? error.message) : String(error) } };
  }
}
