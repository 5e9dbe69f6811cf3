// Listens at the Unix socket that each line of its input names, and says what came of it; an empty line ends that.
import { createInterface } from 'node:readline';

import { UnixTransport } from '../../../dist/transport/unix.js';

const transport = new UnixTransport();
let listener;
console.log('ready');
for await (const path of createInterface({ input: process.stdin })) {
  if (path === '') {
    await listener?.close();
    listener = undefined;
    console.log('closed');
    continue;
  }
  try {
    listener = await transport.listen(path, { routes: [] });
    console.log('listens');
  } catch (error) {
    console.log(error.reason ?? String(error));
  }
}
