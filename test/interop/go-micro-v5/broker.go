package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"

	"go-micro.dev/v5/broker"
	"go-micro.dev/v5/broker/nats"
	"go-micro.dev/v5/broker/rabbitmq"
)

func brokerOf(name, address string) (broker.Broker, error) {
	switch name {
	case "nats":
		return nats.NewNatsBroker(broker.Addrs(address)), nil
	case "rabbitmq":
		return rabbitmq.NewBroker(broker.Addrs("amqp://guest:guest@" + address)), nil
	default:
		return nil, fmt.Errorf("there is no broker %q", name)
	}
}

// Prints a line of JSON for each event of the topic, and publishes each line that it reads as the body of one.
func exchange(b broker.Broker, topic, queue string) error {
	if err := b.Connect(); err != nil {
		return err
	}
	options := []broker.SubscribeOption{}
	if queue != "" {
		options = append(options, broker.Queue(queue))
	}
	_, err := b.Subscribe(topic, func(event broker.Event) error {
		message := event.Message()
		print(map[string]any{"topic": event.Topic(), "headers": message.Header, "body": string(message.Body)})
		return nil
	}, options...)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		headers := map[string]string{"Content-Type": "text/plain", "X-From": "go-micro"}
		message := &broker.Message{Header: headers, Body: []byte(strings.TrimSpace(lines.Text()))}
		if err := b.Publish(topic, message); err != nil {
			return err
		}
	}
	return nil
}
