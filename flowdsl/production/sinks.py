"""Configured sinks: the options of each type, and real sinks built from configurations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from flowdsl.arguments import mapping_of
from flowdsl.errors import FlowError, SinkError
from flowdsl.operators.options import Option
from flowdsl.production.loader import place_of
from flowdsl.production.nodes import Item, read_mapping
from flowdsl.production.project_spec import SinkConfig
from flowdsl.production.schema_validation import ShapeCheck
from flowdsl.sinks.registry import SINKS
from flowdsl.sinks.sqlite_sink import PATH
from flowdsl.text import short_repr

if TYPE_CHECKING:
    from flowdsl.graph.snapshot import EntityGraph
    from flowdsl.sinks.base import Sink

_IN_FOLDER: Final = "a path below the folder of the sinks, without .."


def options_of(kind: str) -> dict[str, Option]:
    """Return the options of a type of sinks by name."""
    return {option.yaml: option for option in SINKS[kind].options}


def config_schema(kind: str) -> dict[str, Any]:
    """Return the JSON Schema of the configuration of a type of sinks."""
    return {
        "type": "object",
        "properties": {name: option.schema for name, option in options_of(kind).items()},
        "additionalProperties": False,
    }


def check_config(kind: str, item: Item) -> list[FlowError]:
    """Return the problems of a sink's configuration: unknown keys, and values that the sink rejects."""
    problems: list[FlowError] = []
    shape = ShapeCheck(problems)
    shape.check(item, config_schema(kind), kind)
    path = item.value.get("path")
    if problems:
        return problems
    if path is not None and isinstance(path.value, str) and _leads_out(path.value):
        shape.refuse(
            path, f"{kind}: path {short_repr(path.value, 200)} leads out of the folder", allowed=_IN_FOLDER
        )
        return problems
    given = {key: value.plain() for key, value in item.value.items() if value.value is not None}
    if kind != "custom" and not _missing(kind, given):
        try:
            _make(kind, given)
        except SinkError as error:
            problems.append(error.located(place=place_of(error, item)))
    return problems


def _missing(kind: str, given: Mapping[str, Any]) -> list[str]:
    """Return the required options that are not given."""
    return [name for name, option in options_of(kind).items() if option.required and name not in given]


def _make(kind: str, options: Mapping[str, Any]) -> Sink:
    """Build a sink with these options, without opening it."""
    if kind == "push":
        # whose devices they are is found when all sinks are there
        options = {name: value for name, value in options.items() if name not in ("recipients", "path")}
    return _construct(kind, options)


def _construct(kind: str, options: Mapping[str, Any]) -> Sink:
    sink = SINKS[kind]
    if kind in SINKS.own:
        return sink(**options)
    try:
        return sink(**options)
    except FlowError:
        raise
    # a sink of another package may raise anything
    except Exception as error:
        raise SinkError(f"{kind} cannot be made: {type(error).__name__}: {error}") from error


def build(
    configs: Iterable[SinkConfig],
    folder: Path | None = None,
    *,
    custom: Mapping[str, Any] | None = None,
    graph: EntityGraph | None = None,
) -> dict[str, Sink]:
    """Build the sinks of configurations by name; see `Project.build_sinks`."""
    by_name = {config.name: config for config in configs}
    own = dict(check_custom(custom))
    _check_custom(own, by_name)
    sinks: dict[str, Sink] = {}
    # push may use an in_app sink that comes after it
    for config in sorted(by_name.values(), key=lambda config: config.type == "push"):
        try:
            sinks[config.name] = _build(config, folder, own, graph, sinks)
        except SinkError as error:
            raise error.located(place=f"sink {config.name!r}") from None
    return {name: sinks[name] for name in by_name}


def check_custom(custom: object) -> Mapping[str, Any]:
    """Return the functions and sinks of the program, by name; there are none for None."""
    allowed = "a mapping from names to functions or sinks"
    return {} if custom is None else mapping_of(custom, "custom", allowed, error=SinkError)


def _build(
    config: SinkConfig,
    folder: Path | None,
    own: Mapping[str, Any],
    graph: EntityGraph | None,
    others: Mapping[str, Sink],
) -> Sink:
    from flowdsl.sinks.base import Sink

    if config.name in own:
        given = own[config.name]
        if isinstance(given, Sink):
            return given
        return SINKS["custom"](given)  # type: ignore[call-arg]
    if config.type == "custom":
        raise SinkError(
            "it is custom, and there is no function for it",
            hint=f"project.build_sinks(custom={{{config.name!r}: function}}) hands one over, in Python",
        )
    options = _options(config)
    if PATH in SINKS[config.type].options or (config.type == "push" and "path" in options):
        options["path"] = _path(options.get("path"), config.name, folder)
    if config.type == "counter" and graph is not None:
        options["graph"] = graph
    if config.type == "push":
        options["recipients"] = _recipients(config.name, options, folder, others)
    return _construct(config.type, options)


def _options(config: SinkConfig) -> dict[str, Any]:
    problems = check_config(config.type, read_mapping(config.config, "config"))
    if problems:
        first = problems[0]
        raise SinkError(f"{first.place}: {first.what}", allowed=first.allowed, hint=first.hint)
    options = {name: value for name, value in config.config.items() if value is not None}
    missing = _missing(config.type, options)
    if missing:
        raise SinkError(
            f"{config.type} needs {' and '.join(map(repr, missing))}",
            allowed=", ".join(options_of(config.type)),
        )
    return options


def _path(given: str | None, name: str, folder: Path | None) -> Path | None:
    """Return the path of a sink's file; no path, name or link may lead out of the folder."""
    if given is None and folder is None:
        return None
    # a dot at the start would hide the file, or lead upwards
    inside = given if given is not None else f"{quote(name, safe='').replace('.', '%2E')[:200]}.sqlite"
    file = Path(inside) if folder is None else folder / inside
    if not file.resolve().is_relative_to((folder or Path()).resolve()):
        raise SinkError(f"path {short_repr(inside, 200)} leads out of the folder", allowed=_IN_FOLDER)
    return file


def _leads_out(path: str) -> bool:
    """Return True if a path is not below a folder on every system: absolute, with a drive, or with `..`."""
    windows = PureWindowsPath(path)
    return bool(windows.anchor) or ".." in windows.parts or "\0" in path


def _recipients(name: str, options: dict[str, Any], folder: Path | None, others: Mapping[str, Sink]) -> Any:
    """Return the store of devices for a push sink: the named in_app sink, the only one, or a file of its
    own.
    """
    from flowdsl.sinks.in_app import InApp

    known = {other: sink for other, sink in others.items() if isinstance(sink, InApp)}
    asked, path = options.pop("recipients", None), options.pop("path", None)
    if asked is not None and path is not None:
        raise SinkError("push has both recipients and path", hint="leave one of them out")
    if asked is None:
        return path or (next(iter(known.values())) if len(known) == 1 else _path(None, name, folder))
    if asked not in known:
        raise SinkError.unknown(f"there is no in_app sink {asked!r}", asked, known)
    return known[asked]


def _check_custom(own: Mapping[str, Any], by_name: Mapping[str, SinkConfig]) -> None:
    for name in own:
        if name not in by_name:
            raise SinkError.unknown(f"custom has {name!r}, and there is no such sink", name, by_name)
