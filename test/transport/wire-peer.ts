import { connect, createServer, type AddressInfo, type Socket as NetSocket } from 'node:net';

import { eventually } from '../support/waiting.ts';
import { rawFrame } from '../support/raw-frame.ts';

export { rawFrame };

/** `74 65 6e`, blanks as one likes, to bytes. */
export function hex(text: string): Buffer {
  return Buffer.from(text.replace(/\s+/g, ''), 'hex');
}

export const preamble = hex('74 65 6e 6f 6e 0d 0a 01');
/** A window of 256 KiB, 10,000 calls, 128 fields. */
export const settings = rawFrame(0, 0, 0, hex('00 04 00 00  00 00 27 10  00 80'));

/** A field that is not to be remembered. */
export function rawField(key: string, value: string, mark = 0): Buffer {
  return Buffer.concat([
    Buffer.from([mark, key.length]),
    Buffer.from(key),
    Buffer.from([value.length]),
    Buffer.from(value),
  ]);
}

/** A frame that came. */
export interface SeenFrame {
  readonly type: number;
  readonly flags: number;
  readonly id: number;
  readonly payload: Buffer;
}

/** One end of a connection that speaks in bytes, and keeps what it hears. */
export class WirePeer {
  readonly socket: NetSocket;
  isClosed = false;
  #chunks: Buffer[] = [];

  constructor(socket: NetSocket) {
    this.socket = socket;
    socket.on('data', (chunk) => this.#chunks.push(chunk));
    socket.on('error', () => {});
    socket.on('close', () => (this.isClosed = true));
  }

  /** Connects to who listens at `address`, a port or a socket file. */
  static dial(address: string): WirePeer {
    if (address.startsWith('unix:')) return new WirePeer(connect(address.slice(5)));
    const [host, port] = address.split(':');
    return new WirePeer(connect(Number(port), host as string));
  }

  /** The same, past the introductions. */
  static async greet(address: string): Promise<WirePeer> {
    const peer = WirePeer.dial(address);
    peer.send(preamble, settings);
    await peer.hears(preamble.length + settings.length);
    return peer;
  }

  send(...bytes: readonly Uint8Array[]): void {
    this.socket.write(Buffer.concat(bytes));
  }

  get heard(): Buffer {
    return Buffer.concat(this.#chunks);
  }

  async hears(bytes: number): Promise<Buffer> {
    await eventually(`${bytes} bytes`, () => this.isClosed || this.heard.length >= bytes);
    return this.heard;
  }

  /** The frames that came whole, behind the preamble. */
  get frames(): SeenFrame[] {
    const frames: SeenFrame[] = [];
    const data = this.heard;
    for (let at = preamble.length; at + 9 <= data.length;) {
      const length = data.readUIntBE(at, 3);
      if (at + 9 + length > data.length) break;
      frames.push({
        type: data.readUInt8(at + 3),
        flags: data.readUInt8(at + 4),
        id: data.readUInt32BE(at + 5),
        payload: data.subarray(at + 9, at + 9 + length),
      });
      at += 9 + length;
    }
    return frames;
  }

  async sees(what: string, test: (frame: SeenFrame) => boolean): Promise<SeenFrame> {
    await eventually(what, () => this.isClosed || this.frames.some(test));
    const seen = this.frames.find(test);
    if (!seen) throw new Error(`the connection was closed before ${what}`);
    return seen;
  }

  async closes(): Promise<void> {
    await eventually('the end of the connection', () => this.isClosed);
  }
}

/** A server that speaks in bytes. */
export async function wireServer(onPeer: (peer: WirePeer) => void): Promise<{ address: string; close(): void }> {
  const peers: WirePeer[] = [];
  const server = createServer((socket) => {
    const peer = new WirePeer(socket);
    peers.push(peer);
    onPeer(peer);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    close() {
      server.close();
      for (const { socket } of peers) socket.destroy();
    },
  };
}
