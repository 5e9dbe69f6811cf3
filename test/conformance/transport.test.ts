import { describe, it } from '@jest/globals';

import { transportConformance } from '../../src/testing/transport.ts';
import { GrpcTransport } from '../../src/transport/grpc.ts';
import { GrpcJsTransport } from '../../src/transport/grpc-js.ts';
import { InProcessTransport } from '../../src/transport/in-process.ts';
import { MemoryTransport } from '../../src/transport/memory.ts';
import { TcpTransport } from '../../src/transport/tcp.ts';
import { UnixTransport } from '../../src/transport/unix.ts';
import { authority } from '../support/certificates.ts';

const api = { describe, it };

transportConformance(api, 'memory', { make: () => new MemoryTransport(), supports: { suggest: true } });
transportConformance(api, 'grpc', { make: () => new GrpcTransport(), supports: { suggest: true, resets: false } });
transportConformance(api, 'grpc-js', {
  make: () => new GrpcJsTransport(),
  supports: { resets: false },
});
transportConformance(api, 'tcp', { make: () => new TcpTransport(), supports: { suggest: true } });
transportConformance(api, 'unix', { make: () => new UnixTransport(), supports: { suggest: true } });
transportConformance(api, 'grpc, in process', {
  make: () => new InProcessTransport(new GrpcTransport()),
  supports: { suggest: true, resets: false },
});

const ca = authority();
const { cert, key } = ca.issue({ name: 'both', names: ['127.0.0.1'] });
transportConformance(api, 'grpc, over TLS with certificates on both sides', {
  make: () => new GrpcTransport({ tls: { ca: ca.cert, cert, key }, serverTls: { ca: ca.cert, cert, key } }),
  supports: { suggest: true, resets: false },
});
