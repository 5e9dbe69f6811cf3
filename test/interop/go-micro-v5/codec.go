package main

import (
	"fmt"

	"go-micro.dev/v5/codec/bytes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"
)

// Go Micro 5 puts a codec in the place of gRPC's own that cannot encode the messages of etcd's client: a gRPC server
// would not register there. This one can.
type protoCodec struct{}

func init() { encoding.RegisterCodec(protoCodec{}) }

func (protoCodec) Name() string { return "proto" }

func (protoCodec) Marshal(v any) ([]byte, error) {
	if frame, ok := v.(*bytes.Frame); ok {
		return frame.Data, nil
	}
	message, err := messageOf(v)
	if err != nil {
		return nil, err
	}
	return proto.Marshal(message)
}

func (protoCodec) Unmarshal(data []byte, v any) error {
	if frame, ok := v.(*bytes.Frame); ok {
		frame.Data = data
		return nil
	}
	if v == nil {
		return nil
	}
	message, err := messageOf(v)
	if err != nil {
		return err
	}
	return proto.Unmarshal(data, message)
}

func messageOf(v any) (proto.Message, error) {
	switch message := v.(type) {
	case proto.Message:
		return message, nil
	case protoadapt.MessageV1:
		return protoadapt.MessageV2Of(message), nil
	default:
		return nil, fmt.Errorf("%T is no message", v)
	}
}
