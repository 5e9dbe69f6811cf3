import {
  constants,
  createServer,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
  type ServerOptions,
} from 'node:http2';

import type { Duplex } from 'node:stream';

import { statusOf } from '../../context/status.ts';
import { Deadlines } from '../../runtime/deadlines.ts';
import type { Random, Timer } from '../../runtime/runtime.ts';
import { protocolHeaderBytes } from '../grpc/grpc-headers.ts';
import { type SessionRules, ServerSession } from './server-session.ts';
import { addMetadata, type RawHeaders, statusHeaders } from './metadata.ts';
import { Keepalive, type KeepaliveOptions } from './keepalive.ts';
import { ServerStream, type Http2ServerSide } from './server-stream.ts';
import { Routes } from '../call/routes.ts';
import type { MakeServerEngine } from '../sockets/server-engine.ts';
import type { SocketServerLimits } from '../sockets/socket-defaults.ts';
import { SendBudget } from '../call/send-budget.ts';

// PROTOCOL-HTTP2.md: Content-Type is "application/grpc" [("+proto" / "+json" / {custom})].
const grpcType = /^application\/grpc(?:[+;]|$)/;

/**
 * Limits on the calls that a client may cancel at once, and each second, before its connection is closed
 * (CVE-2023-44487). Node's own limit of 33 a second is less than deadlines and hedging make on one busy connection
 * between services. Node 20 does not let it be set, and the types do not know it.
 */
const resetLimits = { streamResetBurst: 10_000, streamResetRate: 1_000 };

// The number of checks in the time that a peer has to take data.
const looks = 4;

/** Options of a server of node:http2. */
export interface Http2ServerOptions extends ServerOptions, Omit<KeepaliveOptions, 'withoutCalls'> {
  readonly maxMetadataBytes: number;
  readonly maxCalls: number;
  readonly rules: SessionRules;
  readonly limits: Pick<SocketServerLimits, 'maxUnsentBytes' | 'maxUnsentBytesPerConnection' | 'sendTimeoutMs'>;
  readonly random: Pick<Random, 'next'>;
}

/** Makes a gRPC server on the streams of node:http2. */
export function http2Server(engineOptions: Http2ServerOptions): MakeServerEngine {
  const { maxMetadataBytes, maxCalls, rules, limits, random, keepaliveMs, keepaliveTimeoutMs, ...more } = engineOptions;
  return (options, side) => {
    const routes = new Routes(options);
    const deadlines = new Deadlines(side.clock, side.timers);
    const http: Http2ServerSide = { ...side, deadlines, maxReceiveBytes: options.maxReceiveBytes, maxMetadataBytes };
    const seams = { clock: side.clock, timers: side.timers, random, budget: new SendBudget(limits) };
    const sessions = new Map<ServerHttp2Session, ServerSession>();
    const keepalive = new Keepalive(side.timers, { keepaliveMs, keepaliveTimeoutMs, withoutCalls: true });
    /** The socket that becomes a session. */
    let injected: Duplex;
    let stalls: Timer | undefined;
    let whenGone: (() => void) | undefined;
    const look = (): void => {
      for (const connection of sessions.values()) connection.look(looks);
    };
    const server = createServer({
      maxSessionMemory: Number.MAX_SAFE_INTEGER,
      settings: { maxHeaderListSize: maxMetadataBytes + protocolHeaderBytes, maxConcurrentStreams: maxCalls },
      // Bytes are what counts.
      maxHeaderListPairs: 4_096,
      maxSendHeaderBlockLength: Number.MAX_SAFE_INTEGER,
      ...resetLimits,
      ...more,
    });
    server.on('session', (session) => {
      const connection = new ServerSession(session, injected, rules, seams);
      sessions.set(session, connection);
      keepalive.add(session, { giveUp: () => connection.destroy() });
      if (limits.sendTimeoutMs !== Number.POSITIVE_INFINITY)
        stalls ??= side.timers.every(limits.sendTimeoutMs / looks, look);
      session.once('close', () => {
        keepalive.delete(session);
        connection.closed();
        sessions.delete(session);
        if (sessions.size > 0) return;
        stalls?.cancel();
        stalls = undefined;
        whenGone?.();
      });
    });
    server.on('sessionError', ignored);
    server.on('stream', (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, _flags: number, raw: RawHeaders) => {
      const path = headers[':path'] ?? '';
      const refusal = refusalOf(headers);
      if (refusal !== undefined) {
        refuse(stream, { ':status': refusal });
        return;
      }
      const route = routes.find(path);
      if (route) {
        const connection = sessions.get(stream.session as ServerHttp2Session);
        // Node counts open streams only: the handlers of streams that the client reset may still run.
        if (!connection || (connection.abandoned > 0 && connection.calls >= maxCalls)) {
          stream.on('error', ignored);
          side.timers.soon(() => {
            if (!stream.closed) stream.close(constants.NGHTTP2_REFUSED_STREAM);
          });
          return;
        }
        connection.onCallStart();
        new ServerStream(stream, headers, raw, http, route, connection);
        return;
      }
      const status = statusOf(routes.unknown(path));
      const answer = { ':status': 200, 'content-type': headers['content-type'], ...statusHeaders(status) };
      refuse(stream, addMetadata(answer, status.metadata, maxMetadataBytes));
    });
    return {
      inject: (connection) => {
        injected = connection;
        server.emit('connection', connection);
      },
      goAway: () =>
        new Promise((resolve) => {
          whenGone = resolve;
          if (sessions.size === 0) resolve();
          for (const session of sessions.keys()) session.close();
        }),
      shutDown: () => {
        deadlines.clear();
        for (const session of sessions.keys()) session.destroy();
      },
    };
  };
}

/** Returns the HTTP status for a request that is no call of gRPC. */
function refusalOf(headers: IncomingHttpHeaders): number | undefined {
  if (headers[':method'] !== 'POST') return 405;
  return grpcType.test(headers['content-type'] ?? '') ? undefined : 415;
}

function refuse(stream: ServerHttp2Stream, headers: Record<string, unknown>): void {
  stream.on('error', ignored);
  stream.respond(headers as never, { endStream: true });
  stream.resume();
}

function ignored(): void {}
