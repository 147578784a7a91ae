#!/usr/bin/env bash
# Of a thousand orders, two Kafka clients of Python send three in four to different partitions.
#
# One would guess: a key decides the partition, for all producers of a topic alike. That is what keys are for: what belongs to one
# order comes in the order in which it was sent, and two topics with the same number of partitions can be joined.
#
# What happens (confluent-kafka 2.16.1 and aiokafka 0.14.0 of PyPI, kafkajs 2.2.4 of npm), for 1,000 keys and four partitions:
# - confluent-kafka (librdkafka, as all clients that are made of it) takes CRC-32 of the key; aiokafka and kafkajs take murmur2,
#   as Java does. 240 keys come to the same partition in both, about as many as by chance.
# - With "partitioner": "murmur2_random" confluent-kafka agrees with the two others about every key.
# - kafkajs itself moved its keys with version 2: LegacyPartitioner, the one before, has 262 keys where the new one has them.
#   Whoever updates has each order's later events in another partition than the earlier ones.
#
# Why it matters here: an order is created by a service in one language and paid at a service in another. Both events have the
# same key, and reach two consumers, or one of them in either order: "paid" before "created", a payment of an order that is not
# known, a window with half of its events. With one partition, as in tests, all is well, and a log that was recorded
# from the topic is sorted by time and shows none of it. Set the partitioner in every client that has one.
#
# Source: `partitioner` in https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md (consistent_random,
# and murmur2_random as "NOTE: This is functionally equivalent to the default partitioner in the Java Producer");
# https://github.com/aio-libs/aiokafka/blob/master/aiokafka/partitioner.py; https://kafka.js.org/docs/migration-guide-v2.0.0.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check confluent-kafka==2.16.1 aiokafka==0.14.0
npm install --silent --no-audit --no-fund --prefix "$folder" kafkajs@2.2.4
cat >"$folder/choose.js" <<'JAVASCRIPT'
const { Partitioners } = require("kafkajs");
const [keys, number] = JSON.parse(process.argv[2]);
const partitionMetadata = [...Array(number).keys()].map((partitionId) => ({ partitionId, leader: 1 }));
const chooseBy = (make) => {
  const choose = make();
  return keys.map((key) => choose({ topic: "orders", partitionMetadata, message: { key } }));
};
console.log(JSON.stringify([chooseBy(Partitioners.DefaultPartitioner), chooseBy(Partitioners.LegacyPartitioner)]));
JAVASCRIPT
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import json
import subprocess
import sys

from aiokafka.partitioner import DefaultPartitioner
from confluent_kafka import Producer

KEYS = [f"order-{number}" for number in range(1000)]


def send(**options: str) -> list[int]:
    """The partitions in which a broker inside of the client finds a message of each key."""
    found = {}
    producer = Producer({"test.mock.num.brokers": 1, "log_level": 3, **options})
    for key in KEYS:
        producer.produce("orders", key=key, on_delivery=lambda _, message: found.update({message.key(): message.partition()}))
    assert producer.flush(60) == 0
    return [found[key.encode()] for key in KEYS]


confluent = send()
number = max(confluent) + 1
everywhere = list(range(number))
choose = DefaultPartitioner()
aiokafka = [choose(key.encode(), everywhere, everywhere) for key in KEYS]
command = ["node", f"{sys.argv[1]}/choose.js", json.dumps([KEYS, number])]
kafkajs, legacy = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
#     two clients                                              keys that both send to one partition
EXPECTED = [
    ("confluent-kafka and aiokafka", confluent, aiokafka,      240),
    ("confluent-kafka and kafkajs", confluent, kafkajs,        240),
    ("aiokafka and kafkajs", aiokafka, kafkajs,                1000),
    ("kafkajs before version 2 and since", legacy, kafkajs,    262),
    ("confluent-kafka with murmur2_random and aiokafka", send(partitioner="murmur2_random"), aiokafka,  1000),
]
print(f"{len(KEYS)} keys, {number} partitions")
wrong = 0
for clients, first, second, expected in EXPECTED:
    seen = sum(one == other for one, other in zip(first, second))
    print(f"{clients:<50} the same partition for {seen:>4} keys")
    wrong += seen != expected
raise SystemExit(f"{wrong} of {len(EXPECTED)} are no longer so" if wrong else 0)
PYTHON
