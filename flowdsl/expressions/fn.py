"""Functions for expressions in Python. Written by `python -m flowdsl.expressions.generate`."""

from __future__ import annotations

from typing import Final

from flowdsl.errors import did_you_mean
from flowdsl.expressions.conditions.functions import FUNCTIONS
from flowdsl.expressions.var import Var, called, compared


class _Plugin:
    """Function that another package declares, as a method of `fn`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.__doc__ = FUNCTIONS[name].doc

    def __call__(self, *arguments: object, **named: object) -> Var:
        return called(self.name, *arguments, **named)

    def __repr__(self) -> str:
        return f"fn.{self.name}"


class Functions:
    """Functions for expressions built with `var`."""

    def __getattr__(self, name: str) -> _Plugin:
        if name.startswith("__") or name not in FUNCTIONS:
            raise AttributeError(
                f"there is no function {name!r}; there are {', '.join(FUNCTIONS)}"
                + (f"; {hint}" if (hint := did_you_mean(name, FUNCTIONS)) else "")
            )
        return _Plugin(name)

    def __dir__(self) -> list[str]:
        return sorted({*object.__dir__(self), *FUNCTIONS})

    def exists(self, path: object) -> Var:
        """Test whether a path has a value; null is one.

        >>> from flowdsl import fn, var
        >>> fn.exists(var.owner.email)
        var('exists(owner.email)')
        """
        return called("exists", path)

    def len(self, value: object) -> Var:
        """Return the number of characters of text, items of an array, or fields of an object.

        >>> from flowdsl import fn, var
        >>> fn.len(var.data.tags)
        var('len(data.tags)')
        """
        return called("len", value)

    def lower(self, text: object) -> Var:
        """Convert text to lower case.

        >>> from flowdsl import fn, var
        >>> fn.lower(var.owner.name)
        var('lower(owner.name)')
        """
        return called("lower", text)

    def upper(self, text: object) -> Var:
        """Convert text to upper case.

        >>> from flowdsl import fn, var
        >>> fn.upper(var.owner.name)
        var('upper(owner.name)')
        """
        return called("upper", text)

    def startswith(self, text: object, prefix: object) -> Var:
        """Test whether a text starts with another.

        >>> from flowdsl import fn, var
        >>> fn.startswith(var.owner.name, "a")
        var('startswith(owner.name, "a")')
        """
        return called("startswith", text, prefix)

    def endswith(self, text: object, suffix: object) -> Var:
        """Test whether a text ends with another.

        >>> from flowdsl import fn, var
        >>> fn.endswith(var.owner.name, "z")
        var('endswith(owner.name, "z")')
        """
        return called("endswith", text, suffix)

    def contains(self, whole: object, part: object) -> Var:
        """Test whether a text contains another text, or an array a value.

        >>> from flowdsl import fn, var
        >>> fn.contains(var.data.tags, "new")
        var('contains(data.tags, "new")')
        """
        return called("contains", whole, part)

    def is_in(self, value: object, whole: object) -> Var:
        """Test whether a value is in a list, in an array, or part of a text.

        >>> from flowdsl import fn, var
        >>> ~fn.is_in(var.data.kind, ["post", "page"])
        var('data.kind not in ["post", "page"]')
        """
        return compared("in", value, whole)


fn: Final = Functions()
