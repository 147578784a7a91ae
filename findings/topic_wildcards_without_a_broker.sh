#!/usr/bin/env bash
# A queue bound to "orders.#" gets the message "orders" from RabbitMQ, and does not get it from the same program over Redis.
#
# One would guess: kombu, the messaging library of Celery, binds queues to topics in the way of AMQP over every transport, so
# that tests in memory show what a broker will route. In AMQP # stands for any number of words, none included.
#
# What happens (kombu 5.7.0 of PyPI, smqp 15.0.0 of npm, an AMQP-like broker inside of a process): transports without
# exchanges of their own (memory, Redis, SQS, a database and others) route in kombu, where # keeps the dots beside it.
# "orders.#" becomes `^orders\..*?$` and asks for a word after the dot, "#.paid" for one before it, and "orders.#.paid" for one
# between. "#" alone takes everything and * is one word, as they should be. smqp routes as RabbitMQ does.
#
# Why it matters here: names of events grow from "orders" to "orders.paid" to "orders.eu.paid", and # is there to take all of
# them. Over Redis the short, mostly oldest names reach no queue, and a message that no queue asks for is dropped without a
# word. A history recorded from such a queue lacks them, and its replay looks complete. Bind the short name as well, which
# does no harm in RabbitMQ: a queue gets a message once, however many of its bindings match.
#
# Source: TopicExchange in https://github.com/celery/kombu/blob/main/kombu/transport/virtual/exchange.py ("one or more words");
# https://www.rabbitmq.com/tutorials/tutorial-five-python ("zero or more words").
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check kombu==5.7.0
npm install --silent --no-audit --no-fund --prefix "$folder" smqp@15.0.0
cat >"$folder/route.js" <<'JAVASCRIPT'
const { Broker } = require("smqp");
const [patterns, names] = JSON.parse(process.argv[2]);
const routed = (pattern) => {
  const [broker, got] = [new Broker(), []];
  broker.assertExchange("events", "topic");
  broker.assertQueue("inbox");
  broker.bindQueue("inbox", "events", pattern);
  names.forEach((name) => broker.publish("events", name, name));
  for (let message; (message = broker.get("inbox", { noAck: true })); ) got.push(message.content);
  return got;
};
console.log(JSON.stringify(patterns.map(routed)));
JAVASCRIPT
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import json
import subprocess
import sys

from kombu import Connection, Exchange, Producer, Queue

NAMES = ["orders", "paid", "orders.paid", "orders.eu.paid"]
#     bound to          routed by kombu in memory                 by smqp besides
EXPECTED = [
    ("orders.#",        ["orders.paid", "orders.eu.paid"],        ["orders"]),
    ("#.paid",          ["orders.paid", "orders.eu.paid"],        ["paid"]),
    ("orders.#.paid",   ["orders.eu.paid"],                       ["orders.paid"]),
    ("orders.*",        ["orders.paid"],                          []),
    ("#",               NAMES,                                    []),
]


def by_kombu(pattern: str) -> list[str]:
    exchange, got = Exchange("events", "topic"), []
    with Connection("memory://") as connection, connection.channel() as channel:
        inbox = Queue(f"inbox {pattern}", exchange, routing_key=pattern)(channel)
        inbox.declare()
        for name in NAMES:
            Producer(channel, exchange).publish(name, routing_key=name)
        while message := inbox.get(no_ack=True):
            got.append(message.payload)
        inbox.delete()
    return got


command = ["node", f"{sys.argv[1]}/route.js", json.dumps([[case[0] for case in EXPECTED], NAMES])]
by_smqp = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
wrong = 0
for (pattern, *expected), routed in zip(EXPECTED, by_smqp):
    seen = by_kombu(pattern)
    besides = [name for name in routed if name not in seen]
    print(f"{pattern:<14} kombu {', '.join(seen):<42} smqp besides: {', '.join(besides) or 'nothing'}")
    wrong += [seen, besides] != expected or len(routed) != len(seen) + len(besides)
raise SystemExit(f"{wrong} of {len(EXPECTED)} are no longer so" if wrong else 0)
PYTHON
