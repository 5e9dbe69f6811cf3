// protobufjs's own codec for the messages: the marshaler that both sides share when marshalling is not what is
// compared.
import protobuf from 'protobufjs';

const root = protobuf.loadSync(new URL('./echo.proto', import.meta.url).pathname);
const codec = (name) => {
  const type = root.lookupType(name);
  return { encode: (value) => type.encode(value).finish(), decode: (bytes) => type.decode(bytes) };
};

export const payload = codec('bench.Payload');
export const streamRequest = codec('bench.StreamRequest');
export const byName = { 'bench.Payload': payload, 'bench.StreamRequest': streamRequest };
