#!/usr/bin/env bash
# Two workers that share a subscription are granted it by two MQTT brokers, and get no event from either.
#
# One would guess: a broker that cannot share a subscription refuses it, as the protocol has an answer for that. A client whose two
# filters both fit an event gets it once, or as often as it would from another broker.
#
# What happens (aedes 1.2.0 of npm and amqtt 0.12.1 of PyPI, brokers that run inside of a program or a test; aiomqtt 2.5.1), for
# four events:
# - "$share/workers/orders/#" is how MQTT shares events among workers. Both brokers grant it, with the quality of service that was
#   asked for, and take it for a filter of topics that begin with the word "$share". Nobody publishes to those.
# - A client of "orders/#" and "orders/+/paid" gets each event once from aedes and twice from amqtt, of quality 1, "at least once".
#   Nothing in the second copy tells it from a second event. The specification allows both.
# - A plain subscription beside them gets the four, once each.
#
# Why it matters here: events come to a flow from such a subscription. Tests over a broker in the process see no event at all with
# shared workers, which looks like a quiet day, or one event where production hands two to the flow: EMQX sends one copy a
# filter as amqtt does, and mosquitto does for clients of MQTT 5. A counter or a batch then counts double, for some topics only.
# Log the id of each event and deduplicate by it, before anything is counted.
#
# Source: https://docs.oasis-open.org/mqtt/mqtt/v5.0/os/mqtt-v5.0-os.html sections 4.8.2 (shared), 3.9.3 (reason 0x9E, not
# supported) and 3.3.4 (overlapping); https://github.com/moscajs/aedes/issues/841 (open) and
# https://github.com/moscajs/aedes/issues/37; https://github.com/emqx/MQTTX/issues/1372 and
# https://github.com/eclipse-mosquitto/mosquitto/issues/2555 (one copy a filter).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check amqtt==0.12.1 aiomqtt==2.5.1
npm install --silent --no-audit --no-fund --prefix "$folder" aedes@1.2.0
cat >"$folder/broker.mjs" <<'JAVASCRIPT'
import { createServer } from "node:net";
import { Aedes } from "aedes";

const broker = await Aedes.createBroker();
const server = createServer(broker.handle).listen(0, "127.0.0.1", () => console.log(server.address().port));
process.stdin.on("close", () => process.exit()).resume();
JAVASCRIPT
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import asyncio
import logging
import socket
import subprocess
import sys

import aiomqtt
from amqtt.broker import Broker

logging.disable(logging.CRITICAL)
SHARED = ["$share/workers/orders/#"]
CLIENTS = {"first worker": SHARED, "second worker": SHARED, "two filters": ["orders/#", "orders/+/paid"], "one": ["orders/#"]}


async def listen(port: int, name: str, filters: list[str], granted: dict, got: dict) -> None:
    async with aiomqtt.Client("127.0.0.1", port, identifier=name.replace(" ", "-")) as client:
        codes = [(await client.subscribe(one, qos=1))[0].value for one in filters]
        granted[name], got[name] = codes, ""
        async for message in client.messages:
            got[name] += message.payload.decode()


async def run(port: int) -> tuple[dict, dict]:
    """The quality that each client is granted for its filters, and the events that it gets."""
    granted, got = {}, {}
    tasks = [asyncio.create_task(listen(port, name, filters, granted, got)) for name, filters in CLIENTS.items()]
    async with asyncio.timeout(20):
        while len(granted) < len(CLIENTS):
            await asyncio.sleep(0.05)
        async with aiomqtt.Client("127.0.0.1", port) as client:
            for event in "1234":
                await client.publish("orders/7/paid", event, qos=1)
        while "4" not in got["one"]:
            await asyncio.sleep(0.05)
        await asyncio.sleep(1)
    for task in tasks:
        task.cancel()
    return granted, got


async def run_with_amqtt() -> tuple[dict, dict]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    anyone = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}
    broker = Broker({"listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}"}}, "plugins": anyone})
    await broker.start()
    seen = await run(port)
    await broker.shutdown()
    return seen


def run_with_aedes() -> tuple[dict, dict]:
    command = ["node", f"{sys.argv[1]}/broker.mjs"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as broker:
        seen = asyncio.run(run(int(broker.stdout.readline())))
        broker.stdin.close()
    return seen


GRANTED = {"first worker": [1], "second worker": [1], "two filters": [1, 1], "one": [1]}
#     broker    seen                            the events that each client gets
EXPECTED = [
    ("aedes",   run_with_aedes(),               {"first worker": "", "second worker": "", "two filters": "1234", "one": "1234"}),
    ("amqtt",   asyncio.run(run_with_amqtt()),  {"first worker": "", "second worker": "", "two filters": "11223344", "one": "1234"}),
]
wrong = 0
for name, (granted, got), expected in EXPECTED:
    print(f"{name} grants {granted}")
    print(f"{name} sends {got}")
    wrong += granted != GRANTED or got != expected
raise SystemExit(f"{wrong} of {len(EXPECTED)} are no longer so" if wrong else 0)
PYTHON
