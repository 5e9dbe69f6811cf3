package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"go-micro.dev/v5/broker"
	"go-micro.dev/v5/client"
	cgrpc "go-micro.dev/v5/client/grpc"
	"go-micro.dev/v5/registry"
	"go-micro.dev/v5/registry/consul"
	"go-micro.dev/v5/registry/etcd"
	"go-micro.dev/v5/registry/nats"
	"go-micro.dev/v5/selector"
	"go-micro.dev/v5/server"
	sgrpc "go-micro.dev/v5/server/grpc"
)

func registryOf(name, address string) registry.Registry {
	switch name {
	case "etcd":
		return etcd.NewEtcdRegistry(registry.Addrs(address))
	case "consul":
		return consul.NewConsulRegistry(registry.Addrs(address))
	case "nats":
		return nats.NewNatsRegistry(registry.Addrs(address))
	case "nats-as-v4":
		// The subjects are all that the plugin of version 4 does otherwise.
		query, watch := nats.QueryTopic("micro.registry.nats.query"), nats.WatchTopic("micro.registry.nats.watch")
		return nats.NewNatsRegistry(registry.Addrs(address), query, watch)
	default:
		return registry.NewMDNSRegistry()
	}
}

// Registers Greeter, and deregisters it when it is told to stop.
func serveIn(reg registry.Registry) error {
	srv := sgrpc.NewServer(
		server.Name(service),
		server.Version("2.1.0"),
		server.Metadata(map[string]string{"zone": "a"}),
		server.Address("127.0.0.1:0"),
		server.Registry(reg),
		server.RegisterTTL(6*time.Second),
		server.RegisterInterval(2*time.Second),
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

// Prints a line of JSON for each command that it reads: list, get NAME, call NAME; and for each event of one service.
func lookIn(reg registry.Registry, watched string) {
	// In Consul, Go Micro cannot watch all services.
	watcher, err := reg.Watch(registry.WatchService(watched))
	if err == nil {
		go func() {
			for {
				event, err := watcher.Next()
				if err != nil {
					return
				}
				for _, node := range event.Service.Nodes {
					print(map[string]any{"event": event.Action, "service": event.Service.Name, "node": node.Id})
				}
			}
		}()
	}
	caller := cgrpc.NewClient(
		client.Registry(reg),
		client.Selector(selector.NewSelector(selector.Registry(reg))),
		client.Broker(broker.NewMemoryBroker()),
		client.RequestTimeout(20*time.Second),
	)
	fmt.Println("ready")
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		command, name, _ := strings.Cut(lines.Text(), " ")
		answer := map[string]any{"command": lines.Text()}
		var err error
		switch command {
		case "list":
			var found []*registry.Service
			found, err = reg.ListServices()
			names := []string{}
			for _, one := range found {
				names = append(names, one.Name)
			}
			answer["names"] = names
		case "get":
			answer["services"], err = reg.GetService(name)
		case "call":
			rsp := new(HelloResponse)
			request := caller.NewRequest(name, "Greeter.Hello", &HelloRequest{Name: "John"}, client.WithContentType(asProto))
			err = caller.Call(context.Background(), request, rsp)
			answer["reply"] = rsp.Msg
		}
		if err != nil {
			answer["error"] = err.Error()
		}
		print(answer)
	}
}

func print(line map[string]any) {
	text, _ := json.Marshal(line)
	fmt.Println(string(text))
}
