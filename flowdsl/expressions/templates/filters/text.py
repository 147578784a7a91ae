"""Filters of text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from flowdsl.expressions.templates import rust_text
from flowdsl.expressions.templates.failures import MAX_TEXT, check_characters, check_items
from flowdsl.expressions.templates.filters.arguments import Arguments, text_of
from flowdsl.expressions.templates.filters.declaration import (
    TextColumn,
    column_form,
    text_filter,
    value_filter,
)
from flowdsl.expressions.templates.graphemes import graphemes
from flowdsl.expressions.templates.slugs import slug
from flowdsl.values.white_space import WHITE_SPACE

if TYPE_CHECKING:
    import polars as pl

_HTML = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#x27;", "/": "&#x2F;"})
_XML = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&apos;"})
_SLASHES = str.maketrans({"\\": "\\\\", '"': '\\"', "'": "\\'"})
_SPACES = dict.fromkeys(map(ord, WHITE_SPACE), " ")
_LETTERS = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")
_STRICT = [chr(byte) if byte in _LETTERS else f"%{byte:02X}" for byte in range(256)]
# a percent sign stays as it is, unlike in Python's `quote`
_LOOSE = [chr(byte) if byte in _LETTERS | frozenset(b"%-./_~") else f"%{byte:02X}" for byte in range(256)]


def _translate(letters: Mapping[int, str]) -> TextColumn:
    """Return `str.translate` for columns; what a letter becomes may hold only letters before it."""

    def change(texts: pl.Series) -> pl.Series:
        for letter, new in letters.items():
            texts = texts.str.replace_all(chr(letter), new, literal=True)
        return texts

    return change


def _capitalize(texts: pl.Series) -> pl.Series:
    import polars as pl

    parts = pl.DataFrame(
        {"head": texts.str.head(1).str.to_uppercase(), "tail": texts.str.slice(1).str.to_lowercase()}
    )
    return parts.select(pl.concat_str("head", "tail").alias("text")).to_series()


@text_filter("lower", lambda texts: texts.str.to_lowercase())
def lower(text: str) -> str:
    """Convert to lower case."""
    return rust_text.lower(text)


@text_filter("upper", lambda texts: texts.str.to_uppercase())
def upper(text: str) -> str:
    """Convert to upper case."""
    return rust_text.upper(text)


@text_filter("capitalize", _capitalize)
def capitalize(text: str) -> str:
    """Convert the first letter to upper case and the others to lower case."""
    return rust_text.upper(text[:1]) + rust_text.lower(text[1:])


@text_filter("title")
def title(text: str) -> str:
    """Convert the first letter of each word to upper case and the others to lower case."""
    out: list[str] = []
    at = 0
    for word in rust_text.find_all(text, rust_text.WORDS):
        # the next occurrence is the word itself: its letters cannot occur between two words
        start = text.index(word, at)
        out += [text[at:start], capitalize(word)]
        at = start + len(word)
    return "".join([*out, text[at:]])


@text_filter("escape", _translate(_HTML))
def escape(text: str) -> str:
    """Escape `& < > " ' /` as HTML entities."""
    return text.translate(_HTML)


@text_filter("escape_xml", _translate(_XML))
def escape_xml(text: str) -> str:
    """Escape `& < > " '` as XML entities."""
    return text.translate(_XML)


@text_filter("addslashes", _translate(_SLASHES))
def addslashes(text: str) -> str:
    """Put a backslash before quotes and backslashes."""
    return text.translate(_SLASHES)


@text_filter("linebreaksbr", lambda texts: texts.str.replace_all("\r?\n", "<br>"))
def linebreaksbr(text: str) -> str:
    """Replace line breaks by `<br>`."""
    return text.replace("\r\n", "<br>").replace("\n", "<br>")


@text_filter("striptags", lambda texts: texts.str.replace_all(rust_text.TAGS, ""))
def striptags(text: str) -> str:
    """Remove HTML tags."""
    return rust_text.replace_all(text, rust_text.TAGS, "")


@text_filter("spaceless", lambda texts: texts.str.replace_all(rust_text.SPACE_BETWEEN_TAGS, "><"))
def spaceless(text: str) -> str:
    """Remove white space between HTML tags."""
    return rust_text.replace_all(text, rust_text.SPACE_BETWEEN_TAGS, "><")


@text_filter("urlencode")
def urlencode(text: str) -> str:
    """Percent-encode all but slashes."""
    return "".join(map(_LOOSE.__getitem__, text.encode()))


@text_filter("urlencode_strict")
def urlencode_strict(text: str) -> str:
    """Percent-encode all but letters and digits."""
    return "".join(map(_STRICT.__getitem__, text.encode()))


@text_filter("trim", lambda texts: texts.str.strip_chars(WHITE_SPACE))
def trim(text: str) -> str:
    """Remove surrounding white space."""
    return text.strip(WHITE_SPACE)


@text_filter("trim_start", lambda texts: texts.str.strip_chars_start(WHITE_SPACE))
def trim_start(text: str) -> str:
    """Remove leading white space."""
    return text.lstrip(WHITE_SPACE)


@text_filter("trim_end", lambda texts: texts.str.strip_chars_end(WHITE_SPACE))
def trim_end(text: str) -> str:
    """Remove trailing white space."""
    return text.rstrip(WHITE_SPACE)


def _pattern(args: Arguments) -> str:
    return args.text("pat").replace("\\n", "\n").replace("\\t", "\t")


@value_filter("trim_start_matches", "pat")
def trim_start_matches(value: Any, args: Arguments) -> str:
    """Remove `pat` from the start, repeatedly."""
    text, pattern = text_of("trim_start_matches", value), _pattern(args)
    start = 0
    while pattern and text.startswith(pattern, start):
        start += len(pattern)
    return text[start:]


@value_filter("trim_end_matches", "pat")
def trim_end_matches(value: Any, args: Arguments) -> str:
    """Remove `pat` from the end, repeatedly."""
    text, pattern = text_of("trim_end_matches", value), _pattern(args)
    end = len(text)
    while pattern and text.endswith(pattern, 0, end):
        end -= len(pattern)
    return text[:end]


@value_filter("truncate", optional=("length", "end"), column=column_form("truncate"))
def truncate(value: Any, args: Arguments) -> str:
    """Keep the first `length` characters as readers see them, and append `end` if there were more."""
    text = text_of("truncate", value)
    length, end = args.size("length", 255), args.text("end", "…")
    if length >= len(text):
        return text
    clusters = graphemes(text)
    return text if length >= len(clusters) else "".join(clusters[:length]) + end


@value_filter("wordcount", result="number")
def wordcount(value: Any, args: Arguments) -> int:
    """Count the words between white space."""
    spaced = text_of("wordcount", value).translate(_SPACES)
    return sum(map(bool, spaced.split(" ")))


@value_filter("replace", "from", "to", column=column_form("replace"))
def replace(value: Any, args: Arguments) -> str:
    """Replace every `from` by `to`."""
    text = text_of("replace", value)
    old, new = args.text("from"), args.text("to")
    if len(text) + (len(text) + 1) * max(0, len(new) - len(old)) > MAX_TEXT:
        check_characters(len(text) + text.count(old) * (len(new) - len(old)))
    return text.replace(old, new)


@value_filter("split", "pat", result="array")
def split(value: Any, args: Arguments) -> list[str]:
    """Split the text at `pat`."""
    text, pattern = text_of("split", value), _pattern(args)
    count = len(text) + 1 if not pattern else text.count(pattern)
    check_items(count + 1)
    # splitting at the empty text gives an empty part at both ends
    return ["", *text, ""] if not pattern else text.split(pattern)


@value_filter("indent", optional=("prefix", "first", "blank"))
def indent(value: Any, args: Arguments) -> str:
    """Put `prefix` before each line except the first and blank ones."""
    text = text_of("indent", value)
    prefix, first, blank = args.text("prefix", "    "), args.flag("first"), args.flag("blank")
    *ended, rest = text.split("\n")
    lines = [line.removesuffix("\r") for line in ended] + ([rest] if rest else [])
    check_characters(len(text) + len(lines) * len(prefix))
    out: list[str] = []
    for count, line in enumerate(lines):
        wanted = (blank or bool(trim_start(line))) if count else first
        out.append((prefix if wanted else "") + line)
    return "\n".join(out)


@value_filter("slugify")
def slugify(value: Any, args: Arguments) -> str:
    """Convert to a part of an address: lower case letters, digits and hyphens."""
    return slug(text_of("slugify", value))
