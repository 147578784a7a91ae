#!/usr/bin/env bash
# A tag that is added to one old event is on all old events, if fastavro read them by a schema in which "tags" is new.
#
# One would guess: a reader that fills in what an event lacks gives each event a value of its own, as it does with what the event
# has. That a default which is a list is one list is known of Python's functions, and not of files.
#
# What happens (fastavro 1.13.1, pulsar-client 3.13.0, thriftpy2 0.7.1, Cerberus 1.3.8 and marshmallow 4.4.0; avro 1.12.2,
# pydantic 2.14.4 and msgspec 0.23.0), for events from before the field "tags", whose default is an empty list:
# - fastavro puts the list of the schema itself into each record, and a map or an inner record likewise. The tag is then on all
#   events of the file, and, since the schema was changed, on those of each file that is read by it later.
# - Pulsar's Record shares the list among all events that it makes or decodes, thriftpy2 among all structs of a kind, Cerberus
#   and marshmallow among all documents. Events that bring tags of their own keep them apart.
# - Apache's avro, pydantic and msgspec copy. Python's own dataclasses refuse such a default.
#
# Why it matters here: an event is read, something adds to its tags, and it goes on. Tests have one event, or events that have the
# field. In production those without it come to be tagged with all that was ever added to any of them, more with each hour, until
# the process restarts: a digest for "vip" goes to everybody who has no tags. marshmallow takes a function as a default, and
# Cerberus a `default_setter`; the three others have no such way. Make a new list instead of changing the one that was read.
#
# Source: read_record ("fill in default values") in https://github.com/fastavro/fastavro/blob/master/fastavro/_read_py.py;
# https://avro.apache.org/docs/1.12.0/specification/#schema-resolution; Record.__init__ in
# https://github.com/apache/pulsar-client-python/blob/main/pulsar/schema/definition.py; _normalize_default in
# https://github.com/pyeve/cerberus/blob/master/cerberus/validator.py.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check fastavro==1.13.1 pulsar-client==3.13.0 thriftpy2==0.7.1 \
    cerberus==1.3.8 marshmallow==4.4.0 avro==1.12.2 pydantic==2.14.4 msgspec==0.23.0
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import io
import json
import sys

import avro.datafile
import avro.io
import avro.schema
import cerberus
import fastavro
import marshmallow
import msgspec
import pulsar.schema
import pydantic
import thriftpy2

ID = {"name": "id", "type": "string"}
TAGS = {"name": "tags", "type": {"type": "array", "items": "string"}}


def describe(*fields: dict) -> dict:
    return {"type": "record", "name": "Event", "fields": [ID, *fields]}


FILE = io.BytesIO()
fastavro.writer(FILE, describe(), [{"id": "1"}, {"id": "2"}, {"id": "3"}])
SCHEMA = describe(TAGS | {"default": []})


def by_fastavro() -> list:
    return list(fastavro.reader(io.BytesIO(FILE.getvalue()), SCHEMA))


def by_avro() -> list:
    schema = avro.schema.parse(json.dumps(describe(TAGS | {"default": []})))
    return list(avro.datafile.DataFileReader(io.BytesIO(FILE.getvalue()), avro.io.DatumReader(None, schema)))


class PulsarEvent(pulsar.schema.Record):
    id = pulsar.schema.String()
    tags = pulsar.schema.Array(pulsar.schema.String(), default=[])


class MarshmallowEvent(marshmallow.Schema):
    id = marshmallow.fields.Str()
    tags = marshmallow.fields.List(marshmallow.fields.Str(), load_default=[])


class PydanticEvent(pydantic.BaseModel):
    id: str
    tags: list[str] = []


class MsgspecEvent(msgspec.Struct):
    id: str
    tags: list[str] = []


with open(f"{sys.argv[1]}/event.thrift", "w") as file:
    file.write("struct Event { 1: string id, 2: list<string> tags = [] }")
ThriftEvent = thriftpy2.load(file.name, module_name="event_thrift").Event
IDS = ["1", "2", "3"]
by_pulsar = pulsar.schema.JsonSchema(PulsarEvent).decode
by_cerberus = cerberus.Validator({"id": {"type": "string"}, "tags": {"type": "list", "default": []}}).normalized
READERS = {
    "fastavro": by_fastavro,
    "Pulsar": lambda: [by_pulsar(json.dumps({"id": id}).encode()) for id in IDS],
    "thriftpy2": lambda: [ThriftEvent(id=id) for id in IDS],
    "Cerberus": lambda: [by_cerberus({"id": id}) for id in IDS],
    "marshmallow": lambda: MarshmallowEvent(many=True).load([{"id": id} for id in IDS]),
    "avro": by_avro,
    "pydantic": lambda: [PydanticEvent(id=id) for id in IDS],
    "msgspec": lambda: msgspec.convert([{"id": id} for id in IDS], list[MsgspecEvent]),
}


def look(event) -> list:
    return event["tags"] if isinstance(event, dict) else event.tags


SHARED, OWN = ["vip"] * 3, ["vip", "", ""]
#     reader           tags of the three events after one was tagged, and of the same events read again
EXPECTED = [
    ("fastavro",       SHARED, SHARED),
    ("Pulsar",         SHARED, SHARED),
    ("thriftpy2",      SHARED, SHARED),
    ("Cerberus",       SHARED, SHARED),
    ("marshmallow",    SHARED, SHARED),
    ("avro",           OWN,    [""] * 3),
    ("pydantic",       OWN,    [""] * 3),
    ("msgspec",        OWN,    [""] * 3),
]
wrong = 0
for name, *expected in EXPECTED:
    events = READERS[name]()
    look(events[0]).append("vip")
    seen = [[" ".join(look(event)) for event in rows] for rows in (events, READERS[name]())]
    print(f"{name:<12} {str(seen[0]):<24} read again {seen[1]}")
    wrong += seen != expected
print("fastavro's schema now says", SCHEMA["fields"][1])
wrong += SCHEMA["fields"][1]["default"] != ["vip"]
raise SystemExit(f"{wrong} of {len(EXPECTED) + 1} are no longer so" if wrong else 0)
PYTHON
