/** The framework of that name, if it is one that is compared with. Those are only loaded where they are asked for. */
export async function peerOf(kind) {
  if (['bare', 'static', 'mapped', 'grpc-js'].includes(kind)) return undefined;
  const { frameworks } = await import('../peers/grpc.mjs');
  return frameworks[kind];
}
