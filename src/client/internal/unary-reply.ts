import { Code, TenonError } from '../../errors/errors.ts';
import type { Message, Socket } from '../../transport/transport.ts';

/**
 * Reads the whole answer of a call that has one reply, and returns it as one message. `onPart` is called for each part
 * of it before the last.
 */
export async function readUnaryReply(socket: Socket, onPart?: () => void): Promise<Message> {
  let result: Message = {};
  for (;;) {
    const message = await socket.recv();
    if (!message) return result;
    if (onPart && !message.status) onPart();
    if (message.body && result.body) {
      socket.abort(Code.Cancelled, 'more than one reply');
      throw new TenonError({
        code: Code.Unimplemented,
        reason: 'client.wrong_reply_count',
        message: 'the server sent more than one reply where one was due',
      });
    }
    result = {
      headers: message.headers ?? result.headers,
      body: message.body ?? result.body,
      compressed: message.body ? message.compressed : result.compressed,
      status: message.status ?? result.status,
    };
    if (result.status) return result;
  }
}

/** Makes a unary call on a socket, for transports without a `unary` of their own. */
export async function unaryOverSocket(socket: Socket, message: Message): Promise<Message> {
  try {
    void socket.send(message);
    socket.end();
    return await readUnaryReply(socket);
  } finally {
    await socket.close();
  }
}
