import { describe, expect, it } from '@jest/globals';

import { Code, type TenonError } from '../../src/errors/errors.ts';
import { anySchema } from '../../src/pipeline/pipeline.ts';
import { systemRuntime } from '../../src/runtime/system.ts';
import { failureOf, thrownBy } from '../../src/testing/failures.ts';
import { RecordingLogger } from '../../src/testing/recorders.ts';
import { NatsSocket, type PacketSender } from '../../src/transport/nats/nats-socket.ts';
import { type Packet, PacketKind, readPacket, writePacket } from '../../src/transport/nats/packet.ts';
import { ServerRotation } from '../../src/transport/nats/server-rotation.ts';
import { NatsTransport, type NatsTransportOptions } from '../../src/transport/nats.ts';
import { info, ScriptedServer } from '../nats/support.ts';
import { closing } from '../support/closing.ts';
import { eventually } from '../support/waiting.ts';

const route = {
  service: 'a.B',
  method: 'C',
  path: '/a.B/C',
  aliases: [],
  kind: 'unary',
  input: anySchema,
  output: anySchema,
  idempotent: false,
  defaultContentType: 'application/grpc+json',
} as const;

interface Sent {
  readonly subject: string;
  readonly reply: string | undefined;
  readonly packet: Packet;
}

/** Keeps what a socket sends. */
class Outbox implements PacketSender {
  readonly sent: Sent[] = [];
  readonly maxPayload: number;
  takes = true;
  held = 0;
  forgotten = 0;

  constructor(maxPayload = 64 * 1024) {
    this.maxPayload = maxPayload;
  }

  send(subject: string, reply: string | undefined, packet: Buffer): boolean {
    if (this.takes) this.sent.push({ subject, reply, packet: readPacket(packet) as Packet });
    return this.takes;
  }
  hold(isHeld: boolean): void {
    this.held += isHeld ? 1 : -1;
  }
  forget(): void {
    this.forgotten += 1;
  }

  of(kind: PacketKind): Sent[] {
    return this.sent.filter(({ packet }) => packet.kind === kind);
  }
}

/** A socket, with what came out of it and its end. */
function opened(isClient: boolean, sender = new Outbox()) {
  const socket = new NatsSocket({ sender, own: 'own', peer: isClient ? 'listener' : 'peer', isClient });
  const events: string[] = [];
  socket.on('error', ({ message }) => events.push(message));
  socket.on('close', () => events.push('close'));
  socket.on('end', () => events.push('end'));
  return { socket, sender, events };
}

function packet(kind: PacketKind, number: number, data: Uint8Array | string = ''): Packet {
  return readPacket(writePacket(kind, number, Buffer.from(data as string))) as Packet;
}

const window = 1024 * 1024;
const accepted = packet(PacketKind.Credit, 0, Buffer.alloc(4));

describe('a connection over NATS', () => {
  it('sends nothing before NATS is connected, one packet until it is answered, and then all', async () => {
    const { socket, sender } = opened(true, new Outbox(1_005));
    socket.end(Buffer.alloc(2_500, 7));
    expect(sender.sent).toEqual([]);
    socket.open();
    expect(sender.sent).toHaveLength(1);
    socket.receive(accepted, 'answerer');
    await eventually('all is sent', () => sender.sent.length === 4);
    const { Data, End } = PacketKind;
    expect(
      sender.sent.map(({ subject, packet: { kind, number, data } }) => [subject, kind, number, data.length]),
    ).toEqual([
      ['listener', Data, 0, 1_000],
      ['answerer', Data, 1, 1_000],
      ['answerer', Data, 2, 500],
      ['answerer', End, 3, 0],
    ]);
    expect(sender.sent.every(({ reply }) => reply === 'own')).toBe(true);
  });

  it('is answered at once by who takes it, whatever else that has to say', () => {
    const { socket, sender } = opened(false);
    socket.accept();
    expect(sender.sent.map(({ subject, reply, packet }) => [subject, reply, packet])).toEqual([
      ['peer', 'own', { ...accepted, data: Buffer.alloc(4) }],
    ]);
    const talkative = opened(false);
    talkative.socket.write('hello');
    talkative.socket.accept();
    expect(talkative.sender.sent.map(({ packet: { data } }) => String(data))).toEqual(['hello']);
  });

  it('is known by its subject to the listener that is told of its end before it has answered', () => {
    const { socket, sender } = opened(true);
    socket.write('x');
    socket.open();
    socket.destroy();
    expect(sender.of(PacketKind.Close).map(({ subject, reply }) => [subject, reply])).toEqual([['listener', 'own']]);
  });

  it('speaks to who answered first, and closes the connection of who answers later', () => {
    const { socket, sender } = opened(true);
    socket.open();
    socket.receive(packet(PacketKind.Data, 0, 'a'), 'first');
    socket.receive(packet(PacketKind.Data, 0, 'b'), 'second');
    socket.write('x');
    expect(sender.of(PacketKind.Close).map(({ subject }) => subject)).toEqual(['second']);
    expect(sender.of(PacketKind.Data).map(({ subject }) => subject)).toEqual(['first']);
    expect(socket.read()).toEqual(Buffer.from('a'));
  });

  it('ends if a packet was lost', async () => {
    const { socket, sender, events } = opened(false);
    socket.resume();
    socket.receive(packet(PacketKind.Data, 0, 'a'), 'peer');
    socket.receive(packet(PacketKind.Data, 2, 'c'), 'peer');
    await eventually('it is closed', () => events.includes('close'));
    expect(events).toEqual(['NATS lost a part of what the other side sent', 'close']);
    expect(sender.of(PacketKind.Close)).toHaveLength(1);
    expect([sender.held, sender.forgotten]).toEqual([0, 1]);
  });

  it('sends no more than the other side has room for, and goes on when it has read', async () => {
    const { socket, sender } = opened(false);
    let isWritten = false;
    socket.write(Buffer.alloc(window + 10), () => (isWritten = true));
    const sentBytes = (): number =>
      sender.of(PacketKind.Data).reduce((sum, { packet: { data } }) => sum + data.length, 0);
    expect(sentBytes()).toBe(window);
    expect(isWritten).toBe(false);
    const credit = Buffer.alloc(4);
    credit.writeUInt32BE(100);
    socket.receive(packet(PacketKind.Credit, 0, credit), 'peer');
    await eventually('the rest is sent', () => isWritten);
    expect(sentBytes()).toBe(window + 10);
  });

  it('gives credit as it is read, and ends if the other side sends more than it may', async () => {
    const { socket, sender, events } = opened(false);
    const part = Buffer.alloc(window / 4);
    for (let number = 0; number < 4; number += 1) socket.receive(packet(PacketKind.Data, number, part), 'peer');
    expect(sender.of(PacketKind.Credit)).toEqual([]);
    socket.resume();
    await eventually('credit is given', () => sender.of(PacketKind.Credit).length > 0);
    const given = sender.of(PacketKind.Credit).map(({ packet: { data } }) => data.readUInt32BE(0));
    expect(given.reduce((sum, one) => sum + one, 0)).toBeGreaterThanOrEqual(window / 2);
    socket.pause();
    for (let number = 4; number < 16; number += 1) socket.receive(packet(PacketKind.Data, number, part), 'peer');
    await eventually('it is closed', () => events.includes('close'));
    expect(events[0]).toBe('the other side sent more than it may');
  });

  it('ends if it is sent empty packets, which take no credit', async () => {
    const { socket, events } = opened(false);
    socket.receive(packet(PacketKind.Data, 0), 'peer');
    await eventually('it is closed', () => events.includes('close'));
    expect(events[0]).toBe('the other side sent an empty packet');
  });

  it('ignores what does not say from whom it is', () => {
    const { socket } = opened(true);
    socket.open();
    socket.receive(packet(PacketKind.Data, 0, 'stranger'), undefined);
    expect([socket.read(), socket.peer]).toEqual([null, 'listener']);
  });

  it('ends when NATS says that nobody is there', async () => {
    const client = opened(true);
    client.socket.open();
    client.socket.onNobodyThere();
    await eventually('it is closed', () => client.events.includes('close'));
    expect(client.events[0]).toBe('nobody listens to listener');
    const server = opened(false);
    server.socket.onNobodyThere();
    await eventually('it is closed', () => server.events.includes('close'));
    expect(server.events[0]).toBe('the other side is gone');
    expect(server.sender.of(PacketKind.Close)).toEqual([]);
  });

  it('ends when NATS takes nothing', async () => {
    const { socket, sender, events } = opened(false);
    sender.takes = false;
    socket.write('x');
    await eventually('it is closed', () => events.includes('close'));
    expect(events[0]).toBe('NATS does not take what it is sent');
  });

  it('is read to its end when the other side ends and closes at once', async () => {
    const { socket, events } = opened(false);
    const read: Buffer[] = [];
    socket.receive(packet(PacketKind.Data, 0, 'last words'), 'peer');
    socket.receive(packet(PacketKind.End, 1), 'peer');
    socket.receive(packet(PacketKind.Close, 0), undefined);
    socket.on('data', (chunk: Buffer) => read.push(chunk));
    await eventually('it has ended', () => events.includes('end'));
    expect(Buffer.concat(read).toString()).toBe('last words');
    socket.end();
    await eventually('it is closed', () => events.includes('close'));
    expect(events).toEqual(['end', 'close']);
  });

  it('keeps the process alive unless it is told not to', () => {
    const { socket, sender } = opened(false);
    expect(sender.held).toBe(1);
    socket.ref();
    expect(sender.held).toBe(1);
    socket.unref().unref();
    expect(sender.held).toBe(0);
    socket.ref();
    socket.destroy();
    expect(sender.held).toBe(0);
  });

  it.each(['', '00', '00000000', 'ff00000000', '05 00000000', '03 00000000 0000'])('passes over %p', (text) => {
    expect(readPacket(Buffer.from(text.replaceAll(' ', ''), 'hex'))).toBeUndefined();
  });
});

/**
 * A server that answers what it is told by lines, and to messages for `greeter` that nobody listens: `denied` gives the
 * subject of what it denies.
 */
function scripted(denied: (operation: string) => string | undefined, more: object = { headers: true }): ScriptedServer {
  const numbers = new Map<string, string>();
  return new ScriptedServer(
    (socket) => socket.write(info(more)),
    (socket, text) => {
      for (const line of text.split('\r\n')) {
        const [operation, subject = '', third = ''] = line.split(' ');
        const deniedSubject = denied(line);
        if (operation === 'PING') socket.write('PONG\r\n');
        else if (deniedSubject !== undefined) {
          const right = operation === 'SUB' ? 'Subscription' : 'Publish';
          socket.write(`-ERR 'Permissions Violation for ${right} to "${deniedSubject}"'\r\n`);
        } else if (operation === 'SUB') numbers.set(subject.replace(/[*]$/, ''), third);
        else if (operation === 'PUB' && subject === 'greeter') {
          const number = numbers.get(third.replace(/[^.]*$/, ''));
          if (number !== undefined) socket.write(`HMSG ${third} ${number} 16 16\r\nNATS/1.0 503\r\n\r\n\r\n`);
        }
      }
    },
  );
}

function transportTo({ address }: ScriptedServer, options: NatsTransportOptions = {}): NatsTransport {
  // What is denied is said at once, and not by a bound.
  const patient = { timeoutMs: 600_000, handshakeTimeoutMs: 600_000, keepaliveMs: 600_000, maxReconnectMs: 10 };
  const transport = new NatsTransport({ address, ...patient, ...options });
  closing.push(() => transport.close());
  return transport;
}

const callOf = (transport: NatsTransport): Promise<TenonError> =>
  failureOf(transport.unary('nats:greeter', { body: Buffer.from('x') }, { route, maxReceiveBytes: 1_000 }));

describe('a right that NATS does not give', () => {
  it('is asked for again: an inbox that NATS denies is subscribed again at the next call', async () => {
    let isDenied = true;
    const server = await scripted((line) => {
      const [operation, subject = ''] = line.split(' ');
      return isDenied && operation === 'SUB' && subject.startsWith('_INBOX.') ? subject : undefined;
    }).start();
    const transport = transportTo(server);
    const error = await callOf(transport);
    expect(error).toMatchObject({ code: Code.Unavailable, reason: 'transport.unreachable' });
    expect(error.message).toMatch(/refuses it: .*Subscription to "_INBOX\..*TENON_TRANSPORT_USERNAME/);
    isDenied = false;
    let message = '';
    await eventually('the call gets through to NATS', async () => {
      ({ message } = await callOf(transport));
      return !message.includes('refuses it');
    });
    expect(message).toMatch(/nobody listens to greeter/);
    // Who knows the subject of one connection does not know the next.
    expect(server.said[0]).toMatch(/PUB greeter _INBOX\.[0-9a-f]{32}\.[0-9a-f]{32} /);
    expect(server.sockets).toHaveLength(1);
  });

  it('ends the call that needs it at once', async () => {
    const server = await scripted((line) => (line.startsWith('PUB greeter') ? 'greeter' : undefined)).start();
    const error = await callOf(transportTo(server));
    expect(error).toMatchObject({ code: Code.Unavailable, reason: 'transport.unreachable' });
    expect(error.message).toMatch(/refuses it: .*Publish to "greeter".*TENON_TRANSPORT_USERNAME/);
  });

  it('is no sign that somebody listens already', async () => {
    const server = await scripted((line) => (line.startsWith('PUB greeter') ? 'greeter' : undefined)).start();
    const error = await failureOf(transportTo(server).listen('nats:greeter', { routes: [] }));
    expect([error.code, error.reason]).toEqual([Code.Unavailable, 'transport.cannot_listen']);
    expect(error.message).toMatch(/Publish to "greeter".*TENON_TRANSPORT_USERNAME/);
  });

  it('is logged when it is taken from who listens', async () => {
    const server = await scripted(() => undefined).start();
    const logger = new RecordingLogger();
    const listener = await transportTo(server, { logger }).listen('nats:greeter', { routes: [] });
    closing.push(() => listener.close());
    server.sockets[0]?.write('-ERR \'Permissions Violation for Subscription to "greeter"\'\r\n');
    await eventually('the log', () => logger.lines.length > 0);
    expect(logger.lines).toEqual([
      { level: 'error', message: expect.stringContaining('calls do not reach it'), fields: expect.anything() },
    ]);
    expect(
      JSON.stringify(logger.lines, (_, value: unknown) => (value instanceof Error ? value.message : value)),
    ).toMatch(/TENON_TRANSPORT_USERNAME/);
  });
});

it('NATS without headers is refused, as it does not say where nobody listens', async () => {
  const server = await scripted(() => undefined, {}).start();
  const error = await callOf(transportTo(server));
  expect(error).toMatchObject({ code: Code.Unavailable, reason: 'transport.unreachable' });
  expect(error.message).toMatch(/NATS 2\.2/);
});

describe('addresses of NATS', () => {
  it('are tried from the one that was reached last', () => {
    const rotation = new ServerRotation('nats://a:1, [::1]:2,c', { next: () => 0.4 });
    const hosts = (): string[] => rotation.inOrder.map(({ host, port }) => `${host} ${port}`);
    expect(hosts()).toEqual(['::1 2', 'c 4222', 'a 1']);
    rotation.failed();
    rotation.succeeded(rotation.inOrder[2] as never);
    expect(hosts()).toEqual(['a 1', '::1 2', 'c 4222']);
  });
});

describe('NatsTransport', () => {
  it.each(['greeter', 'nats:', 'nats:a b', 'nats:a.*', 'nats://127.0.0.1:4222', 'nats:a..b', '127.0.0.1:50051'])(
    'refuses the address %p',
    async (address) => {
      const transport = new NatsTransport();
      const error = thrownBy(() => transport.dial(address, { route }));
      expect([error.code, error.reason]).toEqual([Code.InvalidArgument, 'transport.invalid_address']);
      await transport.close();
    },
  );

  it.each(['', 'a:0', 'a:70000', 'http://a', 'a,,b'])('refuses the address %p of NATS', (address) => {
    const error = thrownBy(() => new NatsTransport({ address }));
    expect([error.code, error.reason]).toEqual([Code.InvalidArgument, 'transport.invalid_address']);
  });

  it.each([{ prefix: 'a b' }, { prefix: 'calls.' }, { inboxPrefix: '' }, { inboxPrefix: '_INBOX.>' }])(
    'refuses the beginning of subjects %p',
    (options) => {
      const error = thrownBy(() => new NatsTransport(options));
      expect([error.code, error.reason]).toEqual([Code.InvalidArgument, 'transport.invalid_address']);
      expect(error.message).toContain(`NatsTransportOptions.${Object.keys(options)[0]}`);
    },
  );

  it('says that NATS is not there, to who calls and to who listens', async () => {
    const transport = new NatsTransport({ address: '127.0.0.1:1', runtime: systemRuntime });
    const call = transport.dial('nats:greeter', { route });
    const error = await failureOf(call.recv());
    expect([error.code, error.reason]).toEqual([Code.Unavailable, 'transport.unreachable']);
    expect(error.message).toMatch(
      /NATS at 127\.0\.0\.1:1 \(TENON_TRANSPORT_ADDRESS\) cannot be reached: .*ECONNREFUSED/,
    );
    const refused = await failureOf(transport.listen('nats:greeter', { routes: [] }));
    expect([refused.code, refused.reason]).toEqual([Code.Unavailable, 'transport.cannot_listen']);
    await transport.close();
  });
});
