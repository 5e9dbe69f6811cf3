import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { connect, createServer, type Server, type Socket } from 'node:net';

/**
 * How a {@link FrontServer} treats who comes: it passes all on, accepts and is silent, hangs up at once, or answers
 * with what is no protocol at all, or with a page for people.
 */
export type FrontMode = 'pass' | 'silent' | 'close' | 'garbage' | 'page';

const garbage = Buffer.from(Array.from({ length: 512 }, (_, at) => (at * 197 + 13) & 255));
const page = Buffer.from(
  'HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 21\r\n\r\n<html>It works</html>',
);

/** Stands in front of a server, by TCP and UDP, and can take the place of one that is none of its kind. */
export class FrontServer {
  /** Connections and datagrams that came. */
  count = 0;
  /** What happens to a datagram on its way back: it is late by so many milliseconds, or lost if there is no number. */
  lateByMs: () => number | undefined = () => 0;
  readonly address: string;
  readonly #tcp: Server;
  readonly #udp: UdpSocket;
  readonly #sockets = new Set<Socket>();
  /** Sockets towards the server, by who asked. */
  readonly #asked = new Map<string, UdpSocket>();
  readonly #upstream: readonly [host: string, port: number];
  #mode: FrontMode;
  #isClosed = false;

  private constructor(upstream: string, mode: FrontMode, tcp: Server, udp: UdpSocket) {
    const [host = '', port] = upstream.split(':');
    this.#upstream = [host, Number(port)];
    this.#mode = mode;
    this.#tcp = tcp;
    this.#udp = udp;
    this.address = `127.0.0.1:${udp.address().port}`;
    tcp.on('connection', (socket) => this.#accept(socket));
    udp.on('message', (bytes, from) => this.#receive(bytes, from.port));
  }

  static async start(upstream = '127.0.0.1:1', mode: FrontMode = 'pass'): Promise<FrontServer> {
    for (;;) {
      const tcp = createServer();
      await new Promise<void>((resolve) => tcp.listen(0, '127.0.0.1', resolve));
      const { port } = tcp.address() as { port: number };
      const udp = createSocket('udp4');
      const isFree = await new Promise<boolean>((resolve) => {
        udp.once('error', () => resolve(false));
        udp.bind(port, '127.0.0.1', () => resolve(true));
      });
      if (isFree) return new FrontServer(upstream, mode, tcp, udp);
      tcp.close();
    }
  }

  /** Changes how it behaves. What is open is cut. */
  become(mode: FrontMode): void {
    this.#mode = mode;
    this.#cut();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#cut();
    await Promise.all([
      new Promise((resolve) => this.#tcp.close(resolve)),
      new Promise<void>((resolve) => this.#udp.close(() => resolve())),
    ]);
  }

  #cut(): void {
    for (const socket of this.#sockets) socket.destroy();
    for (const socket of this.#asked.values()) socket.close();
    this.#asked.clear();
  }

  #keep(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => this.#sockets.delete(socket));
  }

  #accept(near: Socket): void {
    this.count += 1;
    this.#keep(near);
    const [host, port] = this.#upstream;
    if (this.#mode === 'close') near.destroy();
    else if (this.#mode === 'silent') near.resume();
    else if (this.#mode === 'garbage') near.on('data', () => near.write(garbage));
    else if (this.#mode === 'page') near.on('data', () => near.write(page));
    else {
      const far = connect({ host, port });
      this.#keep(far);
      near.pipe(far).pipe(near);
      near.on('close', () => far.destroy());
      far.on('close', () => near.destroy());
    }
  }

  #pass(reply: Buffer, to: number): void {
    const lateByMs = this.lateByMs();
    if (lateByMs === undefined) return;
    setTimeout(() => {
      if (!this.#isClosed) this.#udp.send(reply, to, '127.0.0.1');
    }, lateByMs);
  }

  #receive(bytes: Buffer, from: number): void {
    this.count += 1;
    const answer = { pass: undefined, silent: undefined, close: undefined, garbage, page }[this.#mode];
    if (answer) this.#udp.send(answer, from, '127.0.0.1');
    if (this.#mode !== 'pass') return;
    const [host, port] = this.#upstream;
    const key = String(from);
    let far = this.#asked.get(key);
    if (!far) {
      far = createSocket('udp4');
      far.on('error', () => {});
      far.on('message', (reply) => this.#pass(reply, from));
      this.#asked.set(key, far);
      far.unref();
    }
    far.send(bytes, port, host);
  }
}
