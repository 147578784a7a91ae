"""Functions for expressions in Python. Written by `python -m flowdsl.expressions.generate`."""

from __future__ import annotations

from typing import Final, overload

from flowdsl.expressions.aggregates import Aggregate, aggregate
from flowdsl.expressions.plugin_functions import PluginFunctions
from flowdsl.expressions.var import Var, make_call


class Functions(PluginFunctions):
    """Functions for expressions built with `var`."""

    def exists(self, path: object) -> Var:
        """Test whether a path has a value; null is one.

        >>> from flowdsl import fn, var
        >>> fn.exists(var.owner.email)
        var('exists(owner.email)')
        """
        return make_call("exists", path)

    def len(self, value: object) -> Var:
        """Return the number of characters of text, items of an array, or fields of an object.

        >>> from flowdsl import fn, var
        >>> fn.len(var.data.tags)
        var('len(data.tags)')
        """
        return make_call("len", value)

    def lower(self, text: object) -> Var:
        """Convert text to lower case.

        >>> from flowdsl import fn, var
        >>> fn.lower(var.owner.name)
        var('lower(owner.name)')
        """
        return make_call("lower", text)

    def upper(self, text: object) -> Var:
        """Convert text to upper case.

        >>> from flowdsl import fn, var
        >>> fn.upper(var.owner.name)
        var('upper(owner.name)')
        """
        return make_call("upper", text)

    def startswith(self, text: object, prefix: object) -> Var:
        """Test whether a text starts with another.

        >>> from flowdsl import fn, var
        >>> fn.startswith(var.owner.name, "a")
        var('startswith(owner.name, "a")')
        """
        return make_call("startswith", text, prefix)

    def endswith(self, text: object, suffix: object) -> Var:
        """Test whether a text ends with another.

        >>> from flowdsl import fn, var
        >>> fn.endswith(var.owner.name, "z")
        var('endswith(owner.name, "z")')
        """
        return make_call("endswith", text, suffix)

    def contains(self, whole: object, part: object) -> Var:
        """Test whether a text contains another text, or an array a value.

        >>> from flowdsl import fn, var
        >>> fn.contains(var.data.tags, "new")
        var('contains(data.tags, "new")')
        """
        return make_call("contains", whole, part)

    def coalesce(self, *values: object) -> Var:
        """Return the first of the values that is neither missing nor null.

        >>> from flowdsl import fn, var
        >>> fn.coalesce(var.owner.nick, var.owner.name, "someone")
        var('coalesce(owner.nick, owner.name, "someone")')
        """
        return make_call("coalesce", *values)

    def trim(self, text: object) -> Var:
        """Remove white space at both ends of a text.

        >>> from flowdsl import fn, var
        >>> fn.trim(var.owner.name)
        var('trim(owner.name)')
        """
        return make_call("trim", text)

    def abs(self, number: object) -> Var:
        """Return a number without its sign.

        >>> from flowdsl import fn, var
        >>> fn.abs(var.data.change)
        var('abs(data.change)')
        """
        return make_call("abs", number)

    def round(self, number: object, digits: object = 0) -> Var:
        """Round a number, halves away from zero: to a whole number, or to some digits behind the point.

        >>> from flowdsl import fn, var
        >>> fn.round(var.data.price, digits=2)
        var('round(data.price, digits=2)')
        """
        return make_call("round", number, digits=digits)

    def bucket(self, value: object, n: object, salt: object = "") -> Var:
        """Return a number from 0 to n - 1 that is always the same for a text or number, as for A/B tests.

        >>> from flowdsl import fn, var
        >>> fn.bucket(var.source_id, 10, salt="spring")
        var('bucket(source_id, 10, salt="spring")')
        """
        return make_call("bucket", value, n, salt=salt)

    def hour(self, timestamp: object, tz: object = "UTC") -> Var:
        """Return the hour of the local time at a timestamp, from 0 to 23.

        >>> from flowdsl import fn, var
        >>> fn.hour(var.event.timestamp, tz="Europe/Berlin")
        var('hour(event.timestamp, tz="Europe/Berlin")')
        """
        return make_call("hour", timestamp, tz=tz)

    def minute(self, timestamp: object, tz: object = "UTC") -> Var:
        """Return the minute of the local time at a timestamp, from 0 to 59.

        >>> from flowdsl import fn, var
        >>> fn.minute(var.event.timestamp, tz="Asia/Kolkata")
        var('minute(event.timestamp, tz="Asia/Kolkata")')
        """
        return make_call("minute", timestamp, tz=tz)

    def weekday(self, timestamp: object, tz: object = "UTC") -> Var:
        """Return the local weekday at a timestamp, from 1 for Monday to 7.

        >>> from flowdsl import fn, var
        >>> fn.weekday(var.event.timestamp, tz="Europe/Berlin")
        var('weekday(event.timestamp, tz="Europe/Berlin")')
        """
        return make_call("weekday", timestamp, tz=tz)

    def date(self, timestamp: object, tz: object = "UTC") -> Var:
        """Return the local date at a timestamp, such as `2026-05-01`.

        >>> from flowdsl import fn, var
        >>> fn.date(var.event.timestamp, tz="Europe/Berlin")
        var('date(event.timestamp, tz="Europe/Berlin")')
        """
        return make_call("date", timestamp, tz=tz)

    def linked(self, source: object, link_type: object, target: object) -> Var:
        """Test whether there is a link of a type from one id to another, at the moment of the step.

        >>> from flowdsl import fn, var
        >>> fn.linked(var.target_id, "blocks", var.source_id)
        var('linked(target_id, "blocks", source_id)')
        """
        return make_call("linked", source, link_type, target)

    def count_links(self, start: object, link_type: object, direction: object = "forward") -> Var:
        """Return how many links of a type an id has, with direction="reverse" how many end at it.

        >>> from flowdsl import fn, var
        >>> fn.count_links(var.target_id, "likes", direction="reverse")
        var('count_links(target_id, "likes", direction="reverse")')
        """
        return make_call("count_links", start, link_type, direction=direction)

    def first_link(self, start: object, link_type: object, direction: object = "forward") -> Var:
        """Return the metadata of the first link of a type that an id has, or with direction="reverse" that
        ends at it.

        >>> from flowdsl import fn, var
        >>> fn.first_link(var.source_id, "rates")
        var('first_link(source_id, "rates")')
        """
        return make_call("first_link", start, link_type, direction=direction)

    def changed(self, field: object) -> Var:
        """Test whether a field of an entity has another value than before the event.

        >>> from flowdsl import fn, var
        >>> fn.changed(var.data.status)
        var('changed(data.status)')
        """
        return make_call("changed", field)

    def added(self, field: object) -> Var:
        """Return the elements of a list that it had not before the event, in order.

        >>> from flowdsl import fn, var
        >>> fn.added(var.data.mentions)
        var('added(data.mentions)')
        """
        return make_call("added", field)

    def sum(self, value: object) -> Aggregate:
        """Return the sum of numbers; that of integers is exact, for `collect` of a batch.

        >>> from flowdsl import fn, var
        >>> fn.sum(var.data.amount)
        fn.sum('data.amount')
        """
        return aggregate("sum", value)

    @overload
    def min(self, number: object, /) -> Aggregate: ...
    @overload
    def min(self, number: object, other: object, /, *numbers: object) -> Var: ...
    def min(self, *numbers: object) -> Aggregate | Var:
        """Return the least of some numbers. Of one expression: those of a window, for `collect` of a
        batch.

        >>> from flowdsl import fn, var
        >>> fn.min(var.data.amount)
        fn.min('data.amount')
        >>> fn.min(var.data.price, var.data.offer)
        var('min(data.price, data.offer)')
        """
        return aggregate("min", *numbers) if len(numbers) == 1 else make_call("min", *numbers)

    @overload
    def max(self, number: object, /) -> Aggregate: ...
    @overload
    def max(self, number: object, other: object, /, *numbers: object) -> Var: ...
    def max(self, *numbers: object) -> Aggregate | Var:
        """Return the greatest of some numbers. Of one expression: those of a window, for `collect` of a
        batch.

        >>> from flowdsl import fn, var
        >>> fn.max(var.data.amount)
        fn.max('data.amount')
        >>> fn.max(var.data.price, var.data.offer)
        var('max(data.price, data.offer)')
        """
        return aggregate("max", *numbers) if len(numbers) == 1 else make_call("max", *numbers)

    def first(self, value: object) -> Aggregate:
        """Return the first value, for `collect` of a batch.

        >>> from flowdsl import fn, var
        >>> fn.first(var.data.amount)
        fn.first('data.amount')
        """
        return aggregate("first", value)

    def last(self, value: object) -> Aggregate:
        """Return the last value, for `collect` of a batch.

        >>> from flowdsl import fn, var
        >>> fn.last(var.data.amount)
        fn.last('data.amount')
        """
        return aggregate("last", value)

    def unique(self, value: object) -> Aggregate:
        """Return the list of different values, each where it came first, for `collect` of a batch.

        >>> from flowdsl import fn, var
        >>> fn.unique(var.data.amount)
        fn.unique('data.amount')
        """
        return aggregate("unique", value)

    def count(self, value: object) -> Aggregate:
        """Return how many values there are, for `collect` of a batch.

        >>> from flowdsl import fn, var
        >>> fn.count(var.data.amount)
        fn.count('data.amount')
        """
        return aggregate("count", value)


fn: Final = Functions()
