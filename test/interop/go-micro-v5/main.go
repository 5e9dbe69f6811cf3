// A service and a client on Go Micro's own gRPC server and client, for the tests beside it.
//
//	go-micro server            serves Greeter on a free port of loopback, and prints its address
//	go-micro client <address>  makes every call of the tests, and prints the outcome of each as a line of JSON
//	go-micro serve-in <registry> <address>  serves Greeter, and registers it
//	go-micro look-in <registry> <address> <service>  lists, finds, watches and calls services, as it is told on its input
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"go-micro.dev/v5/broker"
	"go-micro.dev/v5/client"
	cgrpc "go-micro.dev/v5/client/grpc"
	"go-micro.dev/v5/errors"
	"go-micro.dev/v5/metadata"
	"go-micro.dev/v5/registry"
	"go-micro.dev/v5/server"
	sgrpc "go-micro.dev/v5/server/grpc"
)

const service = "go.micro.srv.greeter"

// Greeter is the handler: Go Micro names its endpoints by the type.
type Greeter struct{}

func (*Greeter) Hello(_ context.Context, req *HelloRequest, rsp *HelloResponse) error {
	rsp.Msg = "Hello " + req.Name
	return nil
}

func (*Greeter) Echo(_ context.Context, req *AllTypes, rsp *AllTypes) error {
	proto.Merge(rsp, req)
	return nil
}

// Meta tells which metadata the handler sees, and how long it may take.
func (*Greeter) Meta(ctx context.Context, _ *MetaRequest, rsp *MetaResponse) error {
	rsp.Headers = map[string]string{}
	md, _ := metadata.FromContext(ctx)
	for key, value := range md {
		rsp.Headers[strings.ToLower(key)] = value
	}
	if deadline, ok := ctx.Deadline(); ok {
		rsp.Headers["remaining-ms"] = strconv.FormatInt(time.Until(deadline).Milliseconds(), 10)
	}
	return nil
}

func (*Greeter) Fail(_ context.Context, req *FailRequest, _ *HelloResponse) error {
	if req.Kind == "plain" {
		return fmt.Errorf("%s", req.Detail)
	}
	return errors.New(req.Id, req.Detail, req.Code)
}

func (*Greeter) Slow(ctx context.Context, req *SlowRequest, rsp *HelloResponse) error {
	select {
	case <-time.After(time.Duration(req.Millis) * time.Millisecond):
		rsp.Msg = "done"
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (*Greeter) Count(_ context.Context, stream server.Stream) error {
	req := new(CountRequest)
	if err := stream.Recv(req); err != nil {
		return err
	}
	for n := int64(1); n <= req.To; n++ {
		if err := stream.Send(&CountResponse{N: n}); err != nil {
			return err
		}
	}
	return nil
}

func (*Greeter) Chat(_ context.Context, stream server.Stream) error {
	for {
		msg := new(ChatMessage)
		if err := stream.Recv(msg); err != nil {
			return err
		}
		switch msg.Text {
		case "bye":
			return nil
		case "fail":
			return errors.Conflict("greeter.chat", "chat failed")
		}
		if err := stream.Send(&ChatMessage{Text: strings.ToUpper(msg.Text)}); err != nil {
			return err
		}
	}
}

func serve() error {
	srv := sgrpc.NewServer(
		server.Name(service),
		server.Address("127.0.0.1:0"),
		server.Registry(registry.NewMemoryRegistry()),
		server.Broker(broker.NewMemoryBroker()),
	)
	if err := srv.Handle(srv.NewHandler(new(Greeter))); err != nil {
		return err
	}
	if err := srv.Start(); err != nil {
		return err
	}
	fmt.Println("listening", srv.Options().Address)
	stopped := make(chan os.Signal, 1)
	signal.Notify(stopped, syscall.SIGINT, syscall.SIGTERM)
	<-stopped
	return srv.Stop()
}

// Every field set, with what JSON and protobuf write differently.
func allTypes() *AllTypes {
	number := int32(-7)
	return &AllTypes{
		FDouble: 1.5, FFloat: -0.25, FInt32: -3, FInt64: 9007199254740993, FUint64: 1<<64 - 1, FSint64: -9007199254740993,
		FFixed32: 1<<32 - 1, FBool: true, FString: "héllo, 世界 \"q\" <tag>&", FBytes: []byte{0, 1, 0xfe, 0xff},
		FColour: Colour_COLOUR_BLUE, RInt32: []int32{1, -2, 300}, RString: []string{"", "a", "ß"},
		MCounts: map[string]int64{"one": 1, "big": 1 << 60}, Nested: &HelloRequest{Name: "inner"},
		Choice: &AllTypes_CNumber{CNumber: 5}, OInt32: &number,
	}
}

type calls struct {
	client  client.Client
	address string
}

func (c calls) unary(ctx context.Context, to, endpoint, contentType string, req, rsp any, opts ...client.CallOption) error {
	request := c.client.NewRequest(to, endpoint, req, client.WithContentType(contentType))
	return c.client.Call(ctx, request, rsp, append(opts, client.WithAddress(c.address))...)
}

func (c calls) stream(endpoint, contentType string) (client.Stream, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	_ = cancel
	request := c.client.NewRequest(service, endpoint, nil, client.WithContentType(contentType), client.StreamingRequest())
	return c.client.Stream(ctx, request, client.WithAddress(c.address))
}

// As generated clients do it: one message, and no half-close.
func (c calls) count(contentType string, to int64) (any, error) {
	stream, err := c.stream("Greeter.Count", contentType)
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	if err := stream.Send(&CountRequest{To: to}); err != nil {
		return nil, err
	}
	numbers := []int64{}
	for range to {
		rsp := new(CountResponse)
		if err := stream.Recv(rsp); err != nil {
			return nil, err
		}
		numbers = append(numbers, rsp.N)
	}
	return numbers, nil
}

func (c calls) chat(contentType string, texts ...string) (any, error) {
	stream, err := c.stream("Greeter.Chat", contentType)
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	answers := []string{}
	for _, text := range texts {
		if err := stream.Send(&ChatMessage{Text: text}); err != nil {
			return nil, err
		}
		rsp := new(ChatMessage)
		if err := stream.Recv(rsp); err != nil {
			return nil, err
		}
		answers = append(answers, rsp.Text)
	}
	return answers, nil
}

const (
	asProto = "application/grpc+proto"
	asJSON  = "application/grpc+json"
)

func (c calls) hello(to, endpoint, contentType string) (any, error) {
	rsp := new(HelloResponse)
	err := c.unary(context.Background(), to, endpoint, contentType, &HelloRequest{Name: "John"}, rsp)
	return rsp.Msg, err
}

func (c calls) echo(contentType string) (any, error) {
	rsp := new(AllTypes)
	err := c.unary(context.Background(), service, "Greeter.Echo", contentType, allTypes(), rsp)
	return proto.Equal(rsp, allTypes()), err
}

func (c calls) fail(req *FailRequest) (any, error) {
	return nil, c.unary(context.Background(), service, "Greeter.Fail", asProto, req, new(HelloResponse))
}

func call(address string) {
	c := calls{
		client: cgrpc.NewClient(
			client.Registry(registry.NewMemoryRegistry()),
			client.Broker(broker.NewMemoryBroker()),
			client.RequestTimeout(20*time.Second),
		),
		address: address,
	}
	say("hello", func() (any, error) { return c.hello(service, "Greeter.Hello", asProto) })
	for _, contentType := range []string{asJSON, "application/json", "application/protobuf", "application/proto", "application/octet-stream", "application/grpc"} {
		say("hello "+contentType, func() (any, error) { return c.hello(service, "Greeter.Hello", contentType) })
	}
	say("hello without a service", func() (any, error) { return c.hello("", "Greeter.Hello", asProto) })
	say("hello by a whole path", func() (any, error) { return c.hello(service, "/tenon.gomicro.Greeter/Hello", asProto) })
	say("unknown method", func() (any, error) { return c.hello(service, "Greeter.Nope", asProto) })
	say("echo", func() (any, error) { return c.echo(asProto) })
	say("echo json", func() (any, error) { return c.echo(asJSON) })
	say("meta", func() (any, error) {
		ctx := metadata.NewContext(context.Background(), metadata.Metadata{"X-Trace-Id": "abc-123", "Tenant": "acme"})
		rsp := new(MetaResponse)
		err := c.unary(ctx, service, "Greeter.Meta", asProto, new(MetaRequest), rsp)
		return rsp.Headers, err
	})
	say("fail", func() (any, error) {
		return c.fail(&FailRequest{Kind: "micro", Id: "greeter.fail", Code: 409, Detail: "because é <b>"})
	})
	say("fail with a code of ours", func() (any, error) { return c.fail(&FailRequest{Kind: "code", Detail: "not here"}) })
	say("fail with foreign details", func() (any, error) { return c.fail(&FailRequest{Kind: "details", Detail: "three of them"}) })
	say("fail unexpectedly", func() (any, error) { return c.fail(&FailRequest{Kind: "plain", Detail: "a secret"}) })
	say("deadline", func() (any, error) {
		rsp := new(HelloResponse)
		err := c.unary(context.Background(), service, "Greeter.Slow", asProto, &SlowRequest{Millis: 30_000}, rsp,
			client.WithRequestTimeout(300*time.Millisecond), client.WithRetries(0))
		return rsp.Msg, err
	})
	say("count", func() (any, error) { return c.count(asProto, 5) })
	say("count json", func() (any, error) { return c.count(asJSON, 5) })
	say("chat", func() (any, error) { return c.chat(asProto, "one", "two", "three") })
	say("chat json", func() (any, error) { return c.chat(asJSON, "one", "two", "three") })
	say("chat fail", func() (any, error) { return c.chat(asProto, "one", "fail") })
	say("hello after all", func() (any, error) { return c.hello(service, "Greeter.Hello", asProto) })
}

func say(name string, do func() (any, error)) {
	value, err := do()
	line := map[string]any{"case": name}
	if micro, ok := err.(*errors.Error); ok {
		line["error"] = map[string]any{"id": micro.Id, "code": micro.Code, "detail": micro.Detail, "status": micro.Status}
	} else if err != nil {
		line["grpc"] = map[string]any{"code": int(status.Code(err)), "message": status.Convert(err).Message()}
	} else {
		line["value"] = value
	}
	text, _ := json.Marshal(line)
	fmt.Println(string(text))
}

func main() {
	switch {
	case len(os.Args) == 2 && os.Args[1] == "server":
		if err := serve(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	case len(os.Args) == 3 && os.Args[1] == "client":
		call(os.Args[2])
	case len(os.Args) == 4 && os.Args[1] == "serve-in":
		if err := serveIn(registryOf(os.Args[2], os.Args[3])); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	case len(os.Args) == 5 && os.Args[1] == "look-in":
		lookIn(registryOf(os.Args[2], os.Args[3]), os.Args[4])
	case len(os.Args) == 6 && os.Args[1] == "exchange":
		b, err := brokerOf(os.Args[2], os.Args[3])
		if err == nil {
			err = exchange(b, os.Args[4], os.Args[5])
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	default:
		fmt.Fprintln(os.Stderr, "say: server, client <address>, serve-in <registry> <address>, look-in <registry> <address> <service>, or exchange <broker> <address> <topic> <queue>")
		os.Exit(2)
	}
}
