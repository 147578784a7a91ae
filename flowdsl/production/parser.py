"""Parser of YAML text to events; syntax errors are reported with their place.

The parser is libyaml, by way of PyYAML: production's own is a port of it, so both take the same texts, and it
reads two megabytes in a fraction of a second whatever is in them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Final

from flowdsl.errors import FlowError, LoadError

if TYPE_CHECKING:
    import yaml

BYTES: Final = 2_000_000
# limit on the nesting of values
DEPTH: Final = 64
# the parser takes quadratic time over these lines; hardly any file has one
DIRECTIVES: Final = 100
_DIRECTIVE = re.compile(r"^\ufeff?%", re.MULTILINE)
QUOTE_TEMPLATES: Final = 'a template goes in quotes: "{{ … }}"'
# messages of the parser about text that needs quotes
_UNQUOTED: Final = ("expected ',' or", "mapping values are not allowed", "cannot start any token")
# the tag of scalars without quotes in what is composed
PLAIN: Final = "plain"


def too_long(name: str) -> FlowError:
    """Return the error for a text that is too long."""
    return FlowError(
        f"it is longer than {BYTES:,} characters", place=name, hint="split it into several files"
    )


def parse(text: str, name: str, *, keep_mark: bool = False) -> Iterator[Any]:
    """Return the events of a text in order; raise `LoadError` at a syntax error. Places start with `name`.

    `keep_mark` reads a byte order mark as production does, for which the first line is one column further in.
    """
    import yaml

    if len(text) > BYTES:
        raise LoadError([too_long(name)])
    if sum(1 for _ in _DIRECTIVE.finditer(text)) > DIRECTIVES:
        raise LoadError([FlowError(f"it has more than {DIRECTIVES} lines that begin with %", place=name)])
    if keep_mark and text.startswith("\ufeff"):
        # one of the two is taken away with the encoding, before anything is read
        text = f"\ufeff{text}"
    try:
        # without libyaml, where PyYAML was built without it, the same events come more slowly
        yield from yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.reader.ReaderError as error:
        place = f"{name}:{_line_and_column(text, error.position)}"
        raise LoadError([FlowError("there is a character that YAML does not allow", place=place)]) from None
    except yaml.MarkedYAMLError as error:
        raise LoadError([_syntax_error(error, text, name)]) from None
    except UnicodeEncodeError as error:
        place = f"{name}:{_line_and_column(text, len(text[: error.start].encode()))}"
        raise LoadError([FlowError("half of a surrogate pair is not text", place=place)]) from None


def _syntax_error(error: yaml.MarkedYAMLError, text: str, name: str) -> FlowError:
    mark = error.problem_mark or error.context_mark
    place = name if mark is None else f"{name}:{mark.line + 1}:{mark.column + 1}"
    why = " ".join(part for part in (error.problem, error.context) if part)
    if "nesting depth" in why:
        # newer versions of libyaml have a limit of their own, and may meet it before this reader meets its
        return FlowError(f"it is nested more than {DEPTH} deep", place=place)
    return FlowError(f"this is not YAML: {why}", place=place, hint=_hint(why, text, mark))


def compose(text: str) -> Any:
    """Return the PyYAML root node of a text that was read before; unquoted scalars have the tag `PLAIN`.

    Raises `LoadError` where an anchor stands for one thing and then for another, which PyYAML does not put
    together.
    """
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    class Composer(loader):  # type: ignore[misc, valid-type]
        yaml_implicit_resolvers: ClassVar = {None: [(PLAIN, re.compile(""))]}

    try:
        return yaml.compose(text, Loader=Composer)
    except yaml.MarkedYAMLError as error:
        raise LoadError(
            [FlowError(f"this cannot be changed in place: {error.problem or error.context}")]
        ) from None


def _line_and_column(text: str, offset: int) -> str:
    """Return the line and column of a byte offset in the UTF-8 text."""
    before = text.encode(errors="surrogatepass")[:offset].decode(errors="ignore")
    return f"{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}"


def _hint(why: str, text: str, mark: Any) -> str | None:
    if "Unicode character escape" in why:
        return "write the character itself, as json.dumps(…, ensure_ascii=False) does"
    if "unknown escape character" in why:
        return "in double quotes a backslash is written twice; single quotes have no escapes"
    lines = text.split("\n", mark.line + 1) if mark is not None else []
    line = lines[mark.line] if mark is not None and mark.line < len(lines) else ""
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return "indent with spaces, not with tabs"
    if re.search(r":\s+\{[{%]", line):
        return QUOTE_TEMPLATES
    if any(part in why for part in _UNQUOTED):
        return "text that holds a colon with a space, a quote or another sign of YAML goes in quotes"
    return None
