"""Speaks to RabbitMQ by pika: pika-events.py HOST:PORT ACTION ARGUMENT...

bind QUEUE EXCHANGE KEY               makes a queue, and binds it
take QUEUE                            takes a message, acknowledges it, and prints it as JSON: null if there is none
count QUEUE                           prints how many messages wait
publish EXCHANGE KEY BODY PROPERTIES  publishes, and waits until RabbitMQ has it in a queue
"""
import json
import sys

import pika


def bind(channel, queue, exchange, key):
    # RabbitMQ refuses it if the exchange exists and is another one.
    channel.exchange_declare(exchange, 'topic', durable=True)
    channel.queue_declare(queue, durable=True)
    channel.queue_bind(queue, exchange, key)
    return queue


def take(channel, queue):
    method, properties, body = channel.basic_get(queue)
    if method is None:
        return None
    channel.basic_ack(method.delivery_tag)
    names = ('message_id', 'content_type', 'delivery_mode', 'headers')
    return {
        'exchange': method.exchange,
        'routing_key': method.routing_key,
        **{name: getattr(properties, name) for name in names},
        'body': body.decode(),
    }


def count(channel, queue):
    return channel.queue_declare(queue, passive=True).method.message_count


def publish(channel, exchange, key, body, properties):
    channel.confirm_delivery()
    channel.basic_publish(exchange, key, body.encode(), pika.BasicProperties(**json.loads(properties)), mandatory=True)
    return 'published'


address, action, *arguments = sys.argv[1:]
host, port = address.split(':')
actions = {one.__name__: one for one in (bind, take, count, publish)}
with pika.BlockingConnection(pika.ConnectionParameters(host, int(port))) as connection:
    print(json.dumps(actions[action](connection.channel(), *arguments)))
