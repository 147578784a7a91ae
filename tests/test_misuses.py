"""Typos and misuses of everyday designs: each is answered with its place, its cause, and a hint."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import flowdsl as fd
from flowdsl import fn, on, var

L = on("link.created", link_type="likes", name="f")
E = on("entity.updated", entity_type="post", name="f")
B = L.batch("target_id", window="5m", collect={"names": "source_id"})
D = L.map(a=1).deliver("push")

# what is written | its step | what is wrong | what to do instead, or what is allowed
BUILDER = """
E.where("data.items[0].price > 3") | 0 (where) | unexpected '0' at character 12 | for_each('data.items', as_='item')
E.where("data.items.0.price > 3") | 0 (where) | '0.price' is not a number | for_each('data.items', as_='item')
E.where("data.items.0 == 3") | 0 (where) | unexpected '0' | for_each('data.items', as_='item')
E.map(text="{{ data['Betrag (€)'] }}") | 0 (map) | is misread by Tera | columns={'data': {'amount'
E.for_each("data.mentions") | 0 (for_each) | needs 'as_' | such as for_each("data.mentions", as_="who")
E.for_each("data.mentions", into="who") | 0 (for_each) | no option 'into' | did you mean 'as_'?
E.for_each("data.mentions", "who") | 0 (for_each) | takes one argument without a name | as_="who"
E.for_each("data.mentions", as_="a b") | 0 (for_each) | 'a b' cannot name a variable | letters, digits
E.for_each("data.mentions", as_="true") | 0 (for_each) | 'true' cannot name a variable | letters, digits
E.for_each("data.n > 1", as_="x") | 0 (for_each) | data.n > 1 is a boolean | the path of a list
E.for_each("count_links(entity_id, 'likes')", as_="x") | 0 (for_each) | is a number | the path of a list
E.for_each("dta.mentions", as_="x") | 0 (for_each) | no variable 'dta' | did you mean 'data'?
E.for_each("metadata.mentions", as_="x") | 0 (for_each) | no variable 'metadata' | data.mentions
L.for_each("data.mentions", as_="x") | 0 (for_each) | no variable 'data' | did you mean 'metadata'?
E.for_each("add(data.mentions)", as_="x") | 0 (for_each) | no function 'add' | did you mean 'added'?
E.for_each("data.mentions[]", as_="x") | 0 (for_each) | unexpected ']' | path["odd key"]
E.for_each("data.mentions", as_="x").where("y.kind == 1") | 1 (where) | no variable 'y' | as_='y'
fd.on("link.created", "likes") | - | on takes one argument without a name | link_type='likes'
E.where("float(data.total) > 10") | 0 (where) | no function 'float' | types={'total': float}
E.where("isnull(data.total)") | 0 (where) | no function 'isnull' | write x == null
E.where("now() > event.timestamp") | 0 (where) | no function 'now' | event.timestamp is when the event was
E.where("entity_id.startsWith('a')") | 0 (where) | 'startsWith' is called as a method | write startswith(
E.where("data.title.toLowerCase() == 'a'") | 0 (where) | is called as a method | write lower(x)
E.where("data.tags.wat()") | 0 (where) | 'wat' is called as a method | functions with the value in parentheses
E.where("total > 10") | 0 (where) | no variable 'total' | data.total
E.where("entity.total > 10") | 0 (where) | no variable 'entity' | data.total
E.where("event.data.total > 10") | 0 (where) | 'event' has no 'data' | write data.total
E.where("timestamp > '2026-01-01'") | 0 (where) | no variable 'timestamp' | write event.timestamp
L.where("weight > 10") | 0 (where) | no variable 'weight' | metadata.weight
L.where("event.source_id == 'ann'") | 0 (where) | 'event' has no 'source_id' | write source_id
B.where("count > 3") | 1 (where) | no variable 'count' | write batch.count
L.batch("target_id") | 0 (batch) | needs what closes its windows | window='5m'
L.batch(window="5m") | 0 (batch) | batch needs 'key' | such as batch("target_id", window="5m")
L.batch([], window="5m") | 0 (batch) | key is an empty list | one path or more
L.batch(by="target_id", window="5m") | 0 (batch) | no option 'by' | did you mean 'key'?
L.batch(["target_id", "owner.id"], window="5m") | 0 (batch) | no variable 'owner' | as_='owner'
L.batch("target_id", window="5 minutes") | 0 (batch) | '5 minutes' is not a duration | mean '5m'?
L.batch("target_id", window=300) | 0 (batch) | a duration is text | '300s' is seconds
L.batch("target_id", window="-5m") | 0 (batch) | '-5m' is not a duration | cannot be negative
L.batch("target_id", window="hour") | 0 (batch) | window 'hour' is not a duration | write '1h'
L.batch("target_id", quiet="soon") | 0 (batch) | quiet 'soon' is not a duration | '30s', '5m'
L.batch("target_id", quiet="0s") | 0 (batch) | quiet is no time at all | a pause such as '10m'
L.batch("target_id", max_count=5) | 0 (batch) | needs what closes | never fills would never close
L.batch("target_id", window="5m", max_count="5") | 0 (batch) | max_count must be a whole number | write 5
L.batch("target_id", window="5m", min_count=5, max_count=2) | 0 (batch) | below min_count=5 | every full window
L.batch("target_id", window="5m", max=3) | 0 (batch) | no option 'max' | did you mean 'max_count'?
L.batch("target_id", window="5m", maxcount=3) | 0 (batch) | no option 'maxcount' | did you mean 'max_count'?
L.batch("target_id", every="monday") | 0 (batch) | every 'monday' is not known | every='week', on='mon'
L.batch("target_id", every="weekly") | 0 (batch) | every 'weekly' is not known | did you mean 'week'?
L.batch("target_id", every="1d") | 0 (batch) | every '1d' is not known | did you mean 'day'?
L.batch("target_id", every="minute") | 0 (batch) | every 'minute' is not known | window='1m'
L.batch("target_id", every="day", at="9") | 0 (batch) | at '9' is not a time of day | did you mean '09:00'?
L.batch("target_id", every="day", at="9:30 pm") | 0 (batch) | is not a time of day | did you mean '21:30'?
L.batch("target_id", every="day", at="24:00") | 0 (batch) | is not a time of day | did you mean '00:00'?
L.batch("target_id", every="hour", at="09:00") | 0 (batch) | is beyond an hour | '00:15' is a quarter past
L.batch("target_id", every="day", on="mon") | 0 (batch) | does not fit to every='day' | every='week', on='mon'
L.batch("target_id", every="week", on="Monday") | 0 (batch) | on 'Monday' is not a day | did you mean 'mon'?
L.batch("target_id", every="week", on=1) | 0 (batch) | on=1 does not fit | a weekday, such as 'mon'
L.batch("target_id", every="month", on="mon") | 0 (batch) | does not fit to every='month' | every='week'
L.batch("target_id", every="month", on=32) | 0 (batch) | on 32 is not a day | from 1 to 31
L.batch("target_id", every="week", on=["mon", "tue"]) | 0 (batch) | is not a day | a flow for each of them
L.batch("target_id", window="5m", at="09:00") | 0 (batch) | at says nothing without every | first context
L.batch("target_id", every="day", timezone="UTC") | 0 (batch) | no option 'timezone' | did you mean 'tz'?
L.batch("target_id", every="day", tz="Europe/Berlni") | 0 (batch) | is not a time zone | did you mean 'Europe/Berlin'?
L.batch("target_id", every="day", tz="Berlin") | 0 (batch) | is not a time zone | did you mean 'Europe/Berlin'?
L.batch("target_id", every="day", tz="+02:00") | 0 (batch) | is an offset | knows when clocks change
L.batch("target_id", every="day", tz="UTC", default_tz="UTC") | 0 (batch) | a tz that data says | no default_tz
L.batch("target_id", window="5m", collect=["source_id"]) | 0 (batch) | collect is | {'source_id': 'source_id'}
L.batch("target_id", window="5m", collect=("x",)) | 0 (batch) | collect is | give each a name
L.batch("target_id", window="5m", collect={"count": "source_id"}) | 0 (batch) | a 'count' already | another name
L.batch("target_id", window="5m", collect={"x": "average(metadata.n)"}) | 0 (batch) | 'average' | sum(…) and count(…)
L.batch("target_id", window="5m", collect={"x": "summ(metadata.n)"}) | 0 (batch) | 'summ' | did you mean 'sum'?
L.batch("target_id", window="5m", collect={"x": "sum(metadata.n) + 1"}) | 0 (batch) | 'sum' | one value for the whole
L.batch("target_id", window="5m", collect={"x": "{{ source_id }}"}) | 0 (batch) | unexpected '{{' | without {{ }}
L.batch("target_id", window="5m", collect={"x": "fan.name"}) | 0 (batch) | no variable 'fan' | as_='fan'
B.map(x="{{ batch.name }}") | 1 (map) | 'batch' has no 'name' | did you mean 'names'?
B.map(x="{{ batch.cuont }}") | 1 (map) | 'batch' has no 'cuont' | did you mean 'count'?
L.map(x="{{ batch.count }}") | 0 (map) | no variable 'batch' | a batch step before this one
L.wait() | 0 (wait) | nothing to wait for | one of a duration, until= and hours=
L.wait("1 day") | 0 (wait) | '1 day' is not a duration | did you mean '1d'?
L.wait("tomorrow") | 0 (wait) | 'tomorrow' is not a duration | until='09:00'
L.wait("reader.delay") | 0 (wait) | no variable 'reader' | as_='reader'
L.wait("1d", until="09:00") | 0 (wait) | wait has duration and until | one of
L.wait(till="09:00") | 0 (wait) | no option 'till' | did you mean 'until'?
L.wait(until="9") | 0 (wait) | until '9' is not a time of day | did you mean '09:00'?
L.wait(until="09:00", day="mon") | 0 (wait) | no option 'day' | did you mean 'on'?
L.wait("1d", on="mon") | 0 (wait) | on= goes with until= | give until=, or no on=
L.wait(hours="8-22") | 0 (wait) | hours '8-22' is not a stretch | did you mean '08:00-22:00'?
L.wait(hours="8 am to 10 pm") | 0 (wait) | is not a stretch of hours | did you mean '08:00-22:00'?
L.wait(hours=("08:00", "22:00")) | 0 (wait) | is not a stretch of hours | did you mean '08:00-22:00'?
L.wait(hours="08:00–22:00") | 0 (wait) | is not a stretch of hours | did you mean '08:00-22:00'?
L.wait(hours="08:00-22:00", outside="discard") | 0 (wait) | outside 'discard' is not known | 'hold' or 'drop'
L.wait("1d", tz="UTC") | 0 (wait) | is the same in all time zones | leave tz= out
L.wait("1d", "2d") | 0 (wait) | takes one argument without a name | such as wait(
L.cap(3) | 0 (cap) | cap needs 'per' | per="day"
L.cap("3", per="day") | 0 (cap) | max must be a whole number | write 3
L.cap(3, per="daily") | 0 (cap) | 'daily' is not a duration | did you mean 'day'?
L.cap(3, per="hour") | 0 (cap) | 'hour' is not a duration | write '1h'
L.cap(3, per="0s") | 0 (cap) | per is 0 | a longer time
L.cap(3, per="1h", tz="UTC") | 0 (cap) | not for every 1h | per='day'
L.cap(3, per="day", tz="Berlin") | 0 (cap) | is not a time zone | did you mean 'Europe/Berlin'?
L.cap(3, per="day", by="target_id") | 0 (cap) | no option 'by' | did you mean 'key'?
L.cap(3, per="day", strategy="queue") | 0 (cap) | no option 'strategy' | per, key, tz
L.cap(3, per="day", key="owner.id") | 0 (cap) | no variable 'owner' | as_='owner'
L.where("hour(event.timestamp, 'Berlin') > 8") | 0 (where) | 'Berlin' is not a time zone | "Europe/Berlin"
L.where("hour(event.timestamp, zone='UTC') > 8") | 0 (where) | no argument 'zone' | by name it takes tz
L.where("hour(event.time) > 8") | 0 (where) | 'event' has no 'time' | did you mean 'timestamp'?
L.where("hour(event.timestamp)") | 0 (where) | is a number | a comparison
L.where("day(event.timestamp) == 1") | 0 (where) | no function 'day' | did you mean 'weekday'?
L.where("date(event.timestamp) == 2026-01-01") | 0 (where) | '01' is not a number | no leading zeros
L.where("linked(target_id, source_id)") | 0 (where) | linked takes 3 arguments | linked(target_id, "blocks"
L.where("linked(target_id, blocks, source_id)") | 0 (where) | a link type in quotes, not blocks | known before it runs
L.where("is_linked(target_id, 'blocks', source_id)") | 0 (where) | 'is_linked' | did you mean 'linked'?
L.where("count_links(target_id, 'likes')") | 0 (where) | is a number | a comparison
L.where("count_links(target_id) > 3") | 0 (where) | count_links takes two arguments | direction="reverse"
L.where("count_links(target_id, 'likes', direction='back') > 3") | 0 (where) | direction 'back' | 'reverse'
L.where("count_links(target_id, 'likes', dir='reverse') > 3") | 0 (where) | no argument 'dir' | by name it takes direction
L.where("count_links(target_id, 'likes') in 10") | 0 (where) | 10 is a number | in [10]
L.where("first_link(target_id, 'owns')") | 0 (where) | is what a link says | exists(first_link(
L.where("linked(owner.id, 'owns', source_id)") | 0 (where) | no variable 'owner' | as_='owner'
L.where("bucket(source_id) == 0") | 0 (where) | bucket takes two arguments | bucket(source_id, 10
L.where("bucket(source_id, 0) == 0") | 0 (where) | from 1 on, not 0 | bucket(source_id, 10
L.where("bucket(source_id, '2') == 0") | 0 (where) | "2" is text | bucket(source_id, 10
L.where("bucket(source_id, 2, seed='x') == 0") | 0 (where) | no argument 'seed' | by name it takes salt
L.where("buckets(source_id, 2) == 0") | 0 (where) | 'buckets' | did you mean 'bucket'?
L.where("before.status == 'x'") | 0 (where) | no variable 'before' | events of entities have before
E.where("previous.status == 'x'") | 0 (where) | no variable 'previous' | before.status
E.where("changed()") | 0 (where) | changed takes one argument, not 0 | changed(data.status)
E.where("changed('data.status')") | 0 (where) | takes a path, not "data.status" | changed(data.status)
E.where("changed(data.a, data.b)") | 0 (where) | takes one argument, not 2 | changed(data.status)
E.where("changed(status)") | 0 (where) | a field of the event's data, not status | write changed(data.status)
L.where("changed(metadata.x)") | 0 (where) | not metadata.x | of a link nothing is known
E.where("change(data.status)") | 0 (where) | 'change' | did you mean 'changed'?
E.where("added(data.tags)") | 0 (where) | is an array | a comparison
E.where(fn.changed(var.status)) | - | a field of the event's data, not status | write changed(data.status)
L.where(fn.linked(var.target_id, var.metadata.kind, var.source_id)) | - | not metadata.kind | known before it runs
L.where(fn.count_links(var.target_id, "likes", direction="back") > 3) | - | direction 'back' | 'reverse'
L.where(fn.hour(var.event.timestamp, "Mars/Base") > 8) | - | 'Mars/Base' is not a time zone | "Europe/Berlin"
L.where(fn.bucket(var.source_id, 0) == 1) | - | from 1 on, not 0 | bucket(source_id, 10
L.where(fn.sum(var.metadata.n) > 3) | - | one value of a whole window | batch.total
L.where(fn.hour(var.event.timestamp) > 8 and fn.hour(var.event.timestamp) < 22) | - | neither true nor false | & for and
fd.Cap(3, per="dayly") | - | 'dayly' is not a duration | did you mean 'day'?
fd.Cap(3, per="day", tz="Berlin") | - | is not a time zone | did you mean 'Europe/Berlin'?
fd.replay(D, [], caps={"pusch": fd.Cap(3, per="day")}) | - | no flow delivers to 'pusch' | mean 'push'?
fd.replay(D, [], caps={"push": 3}) | - | caps['push'] is 3 | fd.Cap(3, per='day'
fd.replay(D, [], caps=[fd.Cap(3, per="day")]) | - | caps are a list | a mapping from sinks
fd.replay(D, [], target="this-rs", caps={"push": fd.Cap(3, per="day")}) | - | no caps of sinks | leave caps or target out
fd.EntityGraph({}, merge="user") | - | merge is 'user' | ['user']
fd.EntityGraph({}, merge=True) | - | merge is True | a list of entity types
fd.tune(B.map(a=1).deliver("s"), [], vary={"0.windw": ["5m"]}) | - | no option 'windw' | did you mean 'window'?
fd.tune(B.map(a=1).deliver("s"), [], vary={"1.window": ["5m"]}) | - | no option 'window' | 0.window is that of batch
fd.tune(B.map(a=1).deliver("s"), [], vary={"0.window": "5m"}) | - | is not a list of values | […, …]
fd.tune(B.map(a=1).deliver("s"), [], vary={"0.window": ["5 m"]}) | 0 (batch) | not a duration | '5m'
fd.tune(B.map(a=1).deliver("s"), [], vary={"0.window": ["5m"]}, best="reech") | - | 'reech' | 'reach'
fd.tune(B.map(a=1).deliver("s"), [], vary={"0.window": ["5m"]}, subject_to="delay < 1h") | - | say which | delay.p95
fd.tune(B.map(a=1).deliver("s"), [], vary={"0.window": ["5m"]}, subject_to="delay.p90 <= 60") | - | '60' | 60s
fd.tune(B, [], vary={"0.window": ["5m"]}) | - | delivers nothing | end it with deliver
"""

# a step of YAML | column | what is wrong | what to do instead, or what is allowed
YAML = """
for_each: {path: data.mentions} | 24 | needs 'as' | path, as
for_each: {list: data.mentions, as: who} | 18 | no option 'list' | did you mean 'path'?
for_each: {path: "data.n > 1", as: x} | 17 | is a boolean | the path of a list
for_each: {path: [a], as: x} | 24 | path is a list | text, such as
for_each: data.mentions | 17 | are text | a mapping with path, as
foreach: {path: data.mentions, as: x} | 7 | no operator 'foreach' | did you mean 'for_each'?
batch: {key: target_id} | 20 | needs what closes its windows | window='5m'
batch: {key: target_id, window: 5} | 39 | window is a whole number | 5s is seconds
batch: {key: target_id, every: daily} | 38 | 'daily' is not known | did you mean 'day'?
batch: {key: target_id, every: week, on: monday} | 48 | on 'monday' is not a day | did you mean 'mon'?
batch: {key: target_id, every: day, at: 9:00} | 47 | is not a time of day | did you mean '09:00'?
batch: {key: target_id, every: day, at: 32400000000} | 47 | at is a whole number | text, such as 09:00
batch: {key: target_id, every: day, timezone: UTC} | 43 | no option 'timezone' | did you mean 'tz'?
batch: {key: target_id, every: day, tz: Berlin} | 47 | is not a time zone | did you mean 'Europe/Berlin'?
batch: {key: target_id, window: 5m, collect: [source_id]} | 52 | collect is a list | a mapping, such as
batch: {key: target_id, window: 5m, collect: {x: avg(metadata.n)}} | 52 | 'avg' | sum(…) and count(…)
batch: {key: target_id, window: 5m, max_count: "3"} | 54 | max_count is text | write 3 without quotes
wait: 1d | 13 | are text | wait: {duration: …}
wait: {for: 1d} | 14 | no option 'for' | did you mean 'duration'?
wait: {until: "9:00"} | 21 | is not a time of day | did you mean '09:00'?
wait: {hours: 8-22} | 21 | is not a stretch of hours | did you mean '08:00-22:00'?
wait: {duration: 1d, until: "09:00"} | 24 | duration and until | one of a duration
sleep: {duration: 1d} | 7 | no operator 'sleep' | did you mean 'wait'?
cap: {max: 3} | 18 | needs 'per' | max, per, key
cap: {max: "3", per: day} | 18 | max is text | write 3 without quotes
cap: {max: 3, per: day, by: target_id} | 31 | no option 'by' | did you mean 'key'?
cap: {max: 3, per: 1h, tz: UTC} | 34 | not for every 1h | per='day'
caps: {max: 3, per: day} | 7 | no operator 'caps' | did you mean 'cap'?
filter: {condition: "linked(target_id, blocks, source_id)"} | 27 | in quotes, not blocks | known before it runs
filter: {condition: "count_link(target_id, 'likes') > 1"} | 27 | 'count_link' | did you mean 'count_links'?
filter: {condition: "hour(event.timestamp, 'Berlin') > 1"} | 27 | is not a time zone | "Europe/Berlin"
filter: {condition: "changed(status)"} | 27 | not status | write changed(data.status)
filter: {condition: "bucket(source_id) == 1"} | 27 | takes two arguments | bucket(source_id, 10
filter: {condition: "old.x == 1"} | 27 | no variable 'old' | before.x
"""

# a sink of YAML | column | what is wrong | what is allowed
SINKS = """
{name: s, type: in_app, cap: 3} | 34 | cap is a whole number | max, per, tz
{name: s, type: in_app, cap: {max: 3}} | 34 | cap needs 'per' | max, per, tz
{name: s, type: in_app, cap: {max: 3, per: daily}} | 34 | not a duration | did you mean 'day'?
{name: s, type: in_app, cap: {max: 3, per: day, tz: Berlin}} | 34 | is not a time zone | 'Europe/Berlin'
{name: s, type: in_app, cap: {max: 3, per: day, key: x}} | 53 | no key 'key' | max, per, tz
{name: s, type: in_app, caps: {max: 3, per: day}} | 29 | no key 'caps' | did you mean 'cap'?
"""

# a condition that is the same for every event | whether it is never or always true | why | what to do instead
DECIDED = """
count_links(source_id, 'likes') == '100' | never | "100" is text | write 100 without quotes
count_links(source_id, 'likes') in ['10', '100'] | never | "10" is text | write 10 without quotes
count_links(source_id, 'likes') >= 0 | always | from 0 on | how many links
count_links(source_id, 'likes') == 1.5 | never | a whole number | how many links
linked(source_id, 'blocks', target_id) == 'true' | never | "true" is text | write true without quotes
hour(event.timestamp) == 24 | never | from 0 to 23 | the hour of the local time
hour(event.timestamp) == '8' | never | "8" is text | write 8 without quotes
minute(event.timestamp) == 60 | never | from 0 to 59 | from 0 to 59
weekday(event.timestamp) == 'mon' | never | "mon" is text | from 1 for Monday to 7
weekday(event.timestamp) == 0 | never | from 1 to 7 | from 1 for Monday to 7
weekday(event.timestamp) in ['sat', 'sun'] | never | "sat" is text | from 1 for Monday to 7
date(event.timestamp) == '1.1.2026' | never | is not text that | such as `2026-05-01`
bucket(source_id, 2) == 2 | never | from 0 to 1 | from 0 to n - 1
bucket(source_id, 10) < 10 | always | from 0 to 9 | from 0 to n - 1
bucket(source_id, 2) == 'a' | never | "a" is text | from 0 to n - 1
source_id != 5 | always | source_id is text | write "5" in quotes
source_id == null | never | null is null | exists(source_id)
lower(source_id) == len(target_id) | never | is text | compare values of one type
0 > len(link_type) | never | from 0 on | the number of characters
"""


def rows(table: str) -> list[list[str]]:
    return [line.rsplit(" | ", 3) for line in table.strip().splitlines()]


def answers(error: Exception) -> Iterator[fd.FlowError]:
    """The single mistakes of an error."""
    assert isinstance(error, fd.FlowError)
    yield from getattr(error, "problems", None) or (error,)


def assert_answered(error: Exception, cause: str, hint: str) -> fd.FlowError:
    """One of the mistakes is told with its cause, and has the hint or says what is allowed."""
    found = [one for one in answers(error) if cause in one.what]
    assert found, error
    told = [one for one in found if hint in f"{one.what}\n{one.allowed}\n{one.hint}"]
    assert told, found[0]
    assert told[0].allowed or told[0].hint
    return told[0]


@pytest.mark.parametrize(
    ("written", "step", "cause", "hint"), rows(BUILDER), ids=[row[0] for row in rows(BUILDER)]
)
def test_a_mistake_in_python_is_answered_on_its_line(written: str, step: str, cause: str, hint: str):
    names: dict[str, Any] = {"L": L, "E": E, "B": B, "D": D, "fd": fd, "fn": fn, "var": var}
    with pytest.raises(fd.FlowError) as refused:
        eval(compile(f"(\n\n{written})", "designs.py", "eval"), names)
    told = assert_answered(refused.value, cause, hint)
    if step != "-":
        assert str(told.step) == step
        assert told.flow is not None
    frames = traceback.extract_tb(refused.value.__traceback__)
    last = [
        frame
        for frame in frames
        # what flowdsl calls of Python, such as a cached property, is no line of the user
        if not frame.filename.startswith("<")
        and not {"flowdsl", "functools.py"} & {*Path(frame.filename).parts}
    ]
    assert (last[-1].filename, last[-1].lineno) == ("designs.py", 3)


@pytest.mark.parametrize(("step", "column", "cause", "hint"), rows(YAML), ids=[row[0] for row in rows(YAML)])
def test_a_mistake_in_yaml_is_answered_with_its_line_and_column(
    step: str, column: str, cause: str, hint: str
):
    on_link = not any(word in step for word in ("data.", "changed", "old."))
    kind = "link.created" if on_link else "entity.updated"
    text = f"- name: f\n  trigger: {{kind: {kind}}}\n  pipeline:\n    - {step}\n"
    with pytest.raises(fd.LoadError) as refused:
        fd.load(f"{text}    - map: {{template: {{a: x}}}}\n    - deliver: {{sink: s}}\n")
    told = assert_answered(refused.value, cause, hint)
    assert (told.place, told.flow) == (f"text:4:{column}", "f")


@pytest.mark.parametrize(
    ("sink", "column", "cause", "hint"), rows(SINKS), ids=[row[0] for row in rows(SINKS)]
)
def test_a_mistake_in_a_sink_is_answered_with_its_line_and_column(
    sink: str, column: str, cause: str, hint: str
):
    with pytest.raises(fd.LoadError) as refused:
        fd.load(f"events: {{flows: []}}\nsinks:\n  - {sink}\n")
    assert assert_answered(refused.value, cause, hint).place == f"text:3:{column}"


@pytest.mark.parametrize(
    ("condition", "outcome", "why", "hint"), rows(DECIDED), ids=[row[0] for row in rows(DECIDED)]
)
def test_a_condition_that_is_the_same_for_every_event_is_found(
    condition: str, outcome: str, why: str, hint: str
):
    flow = L.where(condition).map(recipient_id="{{ source_id }}").deliver("s")
    [found] = [one for one in flow.check() if one.code == "comparison-decided"]
    assert f"is {outcome} true: " in found.message
    assert why in found.message
    assert hint in str(found.hint)
    assert (found.flow, found.step, found.where) == ("f", 0, flow.steps[0].text)
    with pytest.warns(fd.FlowWarning, match="is (never|always) true") as said:
        fd.replay(flow, [])
    assert len(said) == 1


def test_an_entity_that_is_compared_with_the_event_that_made_it_is_found():
    started = fd.on("entity.updated", entity_type="post").resolve("entity_id", as_="post")
    flow = started.where("post.owner != data.owner").map(title="x").deliver("s").named("f")
    reason = "post.owner and data.owner are the same: the entity is as the event left it"
    with pytest.warns(fd.FlowWarning, match=f"{reason}; before.owner is what it was") as said:
        fd.replay(flow, [])
    assert len(said) == 1


METHODS = [("foreach", "for_each"), ("explode", "for_each"), ("digest", "batch"), ("debounce", "batch")]
METHODS += [("sleep", "wait"), ("delay", "wait"), ("schedule", "wait"), ("limit", "cap"), ("quota", "cap")]


@pytest.mark.parametrize(("word", "method"), METHODS)
def test_a_method_of_another_tool_is_answered_with_the_one_that_is_meant(word: str, method: str):
    with pytest.raises(AttributeError, match=f"no attribute '{word}'; that is '{method}' here: "):
        getattr(L, word)


def test_there_are_more_than_a_hundred():
    tables = (BUILDER, YAML, SINKS, DECIDED)
    assert sum(len(rows(table)) for table in tables) + len(METHODS) > 200
