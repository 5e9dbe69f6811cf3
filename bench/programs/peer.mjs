const own = ['bare', 'static', 'mapped', 'grpc-js', 'tcp', 'tcp mapped', 'unix'];

/** The framework of that name, if it is one that is compared with. Those are only loaded where they are asked for. */
export async function peerOf(kind) {
  if (own.includes(kind)) return undefined;
  const { frameworks } = await (kind.endsWith('TCP') ? import('../peers/tcp.mjs') : import('../peers/grpc.mjs'));
  return frameworks[kind];
}
