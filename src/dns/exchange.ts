import { createSocket } from 'node:dgram';
import { lookup } from 'node:dns/promises';
import { connect, isIP } from 'node:net';

import { onAbort } from '../internal/abort.ts';
import type { DnsServer } from './dns.ts';

/** Reads an answer. Returns `undefined` for a message that is to be ignored; throws for one that ends the wait. */
export type ReadReply<T> = (bytes: Buffer) => T | undefined;

/** Sends a query to a server, and resolves to its answer. Rejects when `signal` aborts. */
export type DnsExchange = <T>(server: DnsServer, query: Buffer, read: ReadReply<T>, signal: AbortSignal) => Promise<T>;

// RFC 1035 section 4.2.2: over TCP the length of a message stands before it, so that none has more than 65,535 bytes.
const lengthLength = 2;

/**
 * Asks by UDP. Each query has a socket of its own, so that its port is random as well as its id. The socket is
 * connected: datagrams from elsewhere do not reach it, and a port where nothing listens is an error at once.
 */
export const askByUdp: DnsExchange = async (server, query, read, signal) => {
  const { address, family } = await addressOf(server);
  const socket = createSocket(family === 6 ? 'udp6' : 'udp4');
  socket.unref();
  return new Promise((resolve, reject) => {
    let forget = (): void => {};
    let isOver = false;
    const end = (): void => {
      if (isOver) return;
      isOver = true;
      forget();
      socket.close();
    };
    const fail = (error: unknown): void => {
      end();
      reject(error);
    };
    socket.on('error', fail);
    socket.on('message', (bytes) => {
      if (isOver) return;
      try {
        const reply = read(bytes);
        if (reply === undefined) return;
        end();
        resolve(reply);
      } catch (error) {
        fail(error);
      }
    });
    forget = onAbort(signal, fail);
    if (isOver) return;
    socket.connect(server.port, address, (error?: Error) => {
      if (isOver) return;
      if (error) fail(error);
      else socket.send(query, (failure) => failure && fail(failure));
    });
  });
};

/** Asks by TCP, over a connection for each query. */
export const askByTcp: DnsExchange = async (server, query, read, signal) => {
  const { address } = await addressOf(server);
  return new Promise((resolve, reject) => {
    const socket = connect({ host: address, port: server.port, noDelay: true });
    socket.unref();
    let received: Buffer[] = [];
    let receivedLength = 0;
    let neededLength = lengthLength;
    let forget = (): void => {};
    const end = (): void => {
      forget();
      socket.destroy();
    };
    const fail = (error: unknown): void => {
      end();
      reject(error);
    };
    socket.on('error', fail);
    socket.on('close', () => fail(new Error('the connection was closed before an answer came')));
    socket.on('connect', () => {
      const length = Buffer.alloc(lengthLength);
      length.writeUInt16BE(query.length);
      socket.write(Buffer.concat([length, query]));
    });
    socket.on('data', (bytes) => {
      received.push(bytes);
      receivedLength += bytes.length;
      if (receivedLength < neededLength) return;
      const all = Buffer.concat(received);
      received = [all];
      neededLength = lengthLength + all.readUInt16BE(0);
      if (receivedLength < neededLength) return;
      try {
        const reply = read(all.subarray(lengthLength, neededLength));
        if (reply === undefined) throw new Error('it sent an answer to another question');
        end();
        resolve(reply);
      } catch (error) {
        fail(error);
      }
    });
    forget = onAbort(signal, fail);
  });
};

async function addressOf({ host }: DnsServer): Promise<{ readonly address: string; readonly family: number }> {
  const family = isIP(host);
  return family === 0 ? lookup(host) : { address: host, family };
}
