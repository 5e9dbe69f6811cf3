/*
 * Google's well-known types, as protoc ships them without their comments (protocolbuffers/protobuf:
 * src/google/protobuf), so that importing them needs no file. protobufjs's own have other field names, which would
 * show in descriptors.
 */
function file(body: string): string {
  return `syntax = "proto3";\npackage google.protobuf;\n${body}`;
}

function wrapper(name: string, scalar: string): string {
  return `message ${name}Value { ${scalar} value = 1; }\n`;
}

/** The text of each file, by the name under which it is imported. */
export const wellKnownProtos: Readonly<Record<string, string>> = {
  'google/protobuf/any.proto': file('message Any { string type_url = 1; bytes value = 2; }'),
  'google/protobuf/duration.proto': file('message Duration { int64 seconds = 1; int32 nanos = 2; }'),
  'google/protobuf/empty.proto': file('message Empty {}'),
  'google/protobuf/field_mask.proto': file('message FieldMask { repeated string paths = 1; }'),
  'google/protobuf/struct.proto': file(`
message Struct { map<string, Value> fields = 1; }
message Value {
  oneof kind {
    NullValue null_value = 1;
    double number_value = 2;
    string string_value = 3;
    bool bool_value = 4;
    Struct struct_value = 5;
    ListValue list_value = 6;
  }
}
enum NullValue { NULL_VALUE = 0; }
message ListValue { repeated Value values = 1; }`),
  'google/protobuf/timestamp.proto': file('message Timestamp { int64 seconds = 1; int32 nanos = 2; }'),
  'google/protobuf/wrappers.proto': file(
    wrapper('Double', 'double') + wrapper('Float', 'float') + wrapper('Int64', 'int64') + wrapper('UInt64', 'uint64') +
      wrapper('Int32', 'int32') + wrapper('UInt32', 'uint32') + wrapper('Bool', 'bool') + wrapper('String', 'string') + wrapper('Bytes', 'bytes'),
  ), // prettier-ignore
};
