"""Options of commands that replay: events, graph, start and stop, or one event."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowdsl.cli.console import duration, existing, load_project, natural, say, signed_number

if TYPE_CHECKING:
    from flowdsl.graph.snapshot import EntityGraph
    from flowdsl.log.source import EventSource
    from flowdsl.results.options import Options


def add_history(parser: argparse.ArgumentParser) -> None:
    """Declare --graph, --merge, --start, --stop and --max-ahead-of-next."""
    parser.add_argument(
        "--graph", metavar="FOLDER", help="entities/<type>.parquet|csv|jsonl and links.parquet|csv|jsonl"
    )
    add_merge(parser)
    parser.add_argument("--start", metavar="POSITION", help="first event, as seq_no or timestamp")
    parser.add_argument("--stop", metavar="POSITION", help="first event to leave out, as seq_no or timestamp")
    parser.add_argument(
        "--max-ahead-of-next",
        type=duration,
        metavar="DURATION",
        help="events dated further ahead of the next ones do not move the clock (1h)",
    )


def add_merge(parser: argparse.ArgumentParser) -> None:
    """Declare --merge."""
    parser.add_argument(
        "--merge",
        metavar="TYPE",
        action="append",
        default=[],
        help="entity type whose updates change only the fields that they have; may be given again",
    )


def graph_of(options: argparse.Namespace) -> EntityGraph | None:
    """Return the graph given by the options, or None."""
    from flowdsl.graph.folder import read_graph
    from flowdsl.graph.snapshot import EntityGraph

    if options.graph is not None:
        return read_graph(existing(options.graph, "folder"), merge=options.merge)
    return EntityGraph(merge=options.merge) if options.merge else None


def log_of(options: argparse.Namespace) -> EventSource:
    """Open the log given by the options, with `--max-ahead-of-next` applied."""
    from flowdsl.results.options import open_source

    return open_source(_readable(options.log), options.max_ahead_of_next)


def _readable(path: str) -> Any:
    """Return a log that `replay` accepts: the path itself, or the events of a text file; report bad rows."""
    file = Path(path)
    if file.is_file() and file.suffix != ".parquet":
        from flowdsl.log import read_events

        log = read_events(file)
        if len(log.problems):
            say(
                f"{len(log.problems):,} rows of {path} have problems, the first: "
                f"{log.problems.iloc[0]['reason']}"
            )
        return log
    if not any(sign in path for sign in "*?["):
        existing(path, "log")
    return path


def position(text: str | None) -> int | str | None:
    """Parse a sequence number or a timestamp."""
    if text is None:
        return None
    number = signed_number(text)
    return text if number is None else number


def add_event(parser: argparse.ArgumentParser) -> None:
    """Declare the flows, one event, --log, --flow, --target and --format."""
    parser.add_argument("flows", metavar="FLOWS.yaml", help="the flows; - reads them from stdin")
    parser.add_argument("seq_no", type=natural, metavar="SEQ_NO", help="the number of the event")
    parser.add_argument("--log", required=True, metavar="PATH", help="the events")
    parser.add_argument("--flow", metavar="NAME", help="only this flow")
    parser.add_argument("--target", choices=("this-rs",), help="by the rules of that runtime")
    parser.add_argument(
        "--format",
        choices=("text", "svg", "mermaid"),
        default="text",
        help="text (default), or a picture: svg or mermaid",
    )


def replay_options(options: argparse.Namespace) -> Options:
    """Build the options of a replay of the flows, the log and the graph that were given."""
    from flowdsl.results.options import options_of

    return options_of(
        load_project(options.flows, options.target),
        log_of(options),
        graph_of(options),
        start=position(options.start),
        stop=position(options.stop),
        target=options.target,
    )
