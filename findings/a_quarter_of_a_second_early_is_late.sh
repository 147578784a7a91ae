#!/usr/bin/env bash
# A quarter of a second early, as betterproto2 writes it, is three quarters of a second late for everybody.
#
# One would guess: a timedelta in a field of type Duration arrives as it is, whichever of the Python libraries for protobuf wrote
# it. Negative ones are allowed, and where one does not fit it is refused.
#
# What happens (protobuf 7.36.2, betterproto2 0.10.0 with its compiler 0.10.1, proto-plus 1.29.0):
# - betterproto2 cuts the seconds towards zero and takes the fraction with Python's %, which is never negative. -0.25 s
#   becomes 0.75 s and -1.5 s becomes -0.5 s, for its own reader as well: what has a fraction moves a second up. Whole
#   seconds are right, as is everything above zero.
# - Its JSON is the two numbers with a point between them: 0.750s for -0.25 s, -90.750s for -90.25 s, which is -89.25 s in
#   bytes, and -1.500s for -1.5 s, where two faults undo each other. It refuses to read -0.500s, which protobuf writes.
# - proto-plus, which the clients of Google Cloud are made of, writes one second less and a fraction above zero. Who adds
#   them up is right. The standard forbids mixed signs, and protobuf refuses to print this as JSON.
#
# Why it matters here: durations below zero are how early something was: a delivery before its slot, a clock that is ahead of
# another, an event before its watermark. They are small, so nearly all of them have a fraction, and "late by more than
# half a second" holds for those that were early. Nothing is raised, and tests take whole seconds. Send milliseconds as an
# int64, or round to seconds.
#
# Source: https://protobuf.dev/reference/protobuf/google.protobuf/#duration (nanos "must be of the same sign as the seconds");
# from_timedelta and to_dict in known_types/duration.py of the compiler, https://github.com/betterproto/python-betterproto2;
# DurationRule in https://github.com/googleapis/google-cloud-python/blob/main/packages/proto-plus/proto/marshal/rules/dates.py.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    betterproto2==0.10.0 betterproto2_compiler==0.10.1 grpcio-tools==1.85.1 proto-plus==1.29.0 protobuf==7.36.2
cd "$folder"
export PATH="$folder/venv/bin:$PATH"
cat >delivery.proto <<'PROTO'
syntax = "proto3";
package shop;
import "google/protobuf/duration.proto";
message Delivery { google.protobuf.Duration late = 1; }
PROTO
mkdir better
python -m grpc_tools.protoc -I. --python_out=. --python_betterproto2_out=better delivery.proto 2>compiler.log
python - <<'PYTHON'
from datetime import timedelta

import proto
from better import shop
from delivery_pb2 import Delivery
from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import MessageToDict, SerializeToJsonError


class Plus(proto.Message):
    late = proto.Field(proto.MESSAGE, number=1, message=Duration)


def by_protobuf(late: timedelta) -> bytes:
    delivery = Delivery()
    delivery.late.FromTimedelta(late)
    return delivery.SerializeToString()


def by_betterproto(late: timedelta) -> bytes:
    return bytes(shop.Delivery(late=late))


def by_proto_plus(late: timedelta) -> bytes:
    return Plus.serialize(Plus(late=late))


def read(message: bytes) -> tuple[float, float, str]:
    """The seconds for protobuf and for betterproto2, and the JSON of protobuf."""
    delivery = Delivery.FromString(message)
    try:
        text = MessageToDict(delivery)["late"]
    except SerializeToJsonError:
        text = "refused"
    return delivery.late.ToTimedelta().total_seconds(), shop.Delivery.parse(message).late.total_seconds(), text


#    written            seconds   protobuf   betterproto2   as JSON
EXPECTED = [
    (by_protobuf,       -0.25,    (-0.25,    -0.25,         "-0.250s")),
    (by_betterproto,    -0.25,    (0.75,     0.75,          "0.750s")),
    (by_proto_plus,     -0.25,    (-0.25,    -0.25,         "refused")),
    (by_protobuf,       -1.5,     (-1.5,     -1.5,          "-1.500s")),
    (by_betterproto,    -1.5,     (-0.5,     -0.5,          "refused")),
    (by_proto_plus,     -1.5,     (-1.5,     -1.5,          "refused")),
    (by_betterproto,    -2.0,     (-2.0,     -2.0,          "-2s")),
    (by_betterproto,    1.5,      (1.5,      1.5,           "1.500s")),
]
wrong = 0
for write, seconds, expected in EXPECTED:
    seen = read(write(timedelta(seconds=seconds)))
    print(f"{write.__name__:<16} {seconds:>5} s   protobuf {seen[0]}   betterproto2 {seen[1]}   JSON {seen[2]}")
    wrong += seen != expected
for seconds, expected in ((-0.25, "0.750s"), (-1.5, "-1.500s"), (-90.25, "-90.750s")):
    seen = shop.Delivery(late=timedelta(seconds=seconds)).to_dict()["late"]
    print(f"JSON of betterproto2 {seconds:>6} s   {seen}")
    wrong += seen != expected
try:
    shop.Delivery.from_json('{"late": "-0.500s"}')
except ValueError as error:
    print("betterproto2 reads -0.500s:", error)
else:
    wrong += 1
raise SystemExit(f"{wrong} of {len(EXPECTED) + 4} are no longer so" if wrong else 0)
PYTHON
