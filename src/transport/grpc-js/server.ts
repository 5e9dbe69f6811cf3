import { Server, ServerCredentials, type ServerInterceptor, type ServerOptions } from '@grpc/grpc-js';

import type { MethodDescriptor } from '../../pipeline/pipeline.ts';
import { defaultMaxMessageBytes } from '../transport.ts';
import { type BaseCall, GrpcJsServerCall, type GrpcJsServerSide, TakenCall } from './server-call.ts';
import { Routes } from '../call/routes.ts';
import type { MakeServerEngine } from '../sockets/server-engine.ts';

const ignored = (): void => {};
const identity = (bytes: Buffer): Buffer => bytes;

/** Options of a server of grpc-js. */
export interface GrpcJsServerOptions extends ServerOptions {
  readonly maxMetadataBytes: number;
}

/**
 * A server of grpc-js, of which each call is taken over before a stream is put on it. Its connections come decrypted.
 */
export function grpcJsServer({ maxMetadataBytes, ...serverOptions }: GrpcJsServerOptions): MakeServerEngine {
  return (options, side) => {
    const routes = new Routes(options);
    const server = new Server({
      ...serverOptions,
      'grpc.max_receive_message_length': options.maxReceiveBytes ?? defaultMaxMessageBytes,
      interceptors: [takingOver(routes, { ...side, maxMetadataBytes })],
    });
    for (const path of routes.paths) server.register(path, ignored, identity, identity, 'bidi');
    const injector = server.createConnectionInjector(ServerCredentials.createInsecure());
    return {
      inject: (connection) => injector.injectConnection(connection),
      goAway: () => new Promise((resolve) => server.tryShutdown(() => resolve())),
      shutDown: () => server.forceShutdown(),
    };
  };
}

function takingOver(routes: Routes, side: GrpcJsServerSide): ServerInterceptor {
  // One for all calls: nothing happens on it.
  const taken = new TakenCall(undefined as unknown as BaseCall);
  return ({ path }, call) => {
    new GrpcJsServerCall(call, side, routes.find(path) as MethodDescriptor);
    return taken;
  };
}
