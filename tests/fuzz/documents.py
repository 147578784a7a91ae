"""Random YAML documents, sound and mangled: each is read or refused with a typed error, and what was read is kept when saved."""

from __future__ import annotations

import random
import warnings

from flowdsl import on
from flowdsl.api.project import Project
from flowdsl.errors import FlowError, FlowWarning, LoadError
from flowdsl.production.yaml import load_text
from flowdsl.rules import FLOWDSL, rules_of

TAGS = [
    "",
    "",
    "",
    "",
    "",
    "",
    "!x ",
    "! ",
    "!push ",
    "!!str ",
    "!!int ",
    "!!bool ",
    "!!null ",
    "!!float ",
    "!!map ",
    "!!binary ",
]
SCALARS = [
    "x", "'q'", '""', "1", "-0", "0x1f", "0b11", "010", "1e3", ".inf", ".nan", "true", "null", "~", "", "4294967296",
    "18446744073709551615", "18446744073709551616", "1s", "307445734561825861m", "link.created", "latest", "push", "in_app",
    "'a\tb'", '"\\u00e9\\n"', "[]", "{}", "[a]", "{a: 1, a: 2}", "{[a]: 1}", "2026-01-01", "on", "<<", "| ",
]  # fmt: skip
NAMES = ["f", "g", "'a b'", '"a\\nb"', "1", "é"]
CHANGE = on("link.deleted", name="added").map(t="x").deliver("s")


def check(rng: random.Random) -> int:
    text = _mangled(_document(rng), rng)
    for rules in (FLOWDSL, rules_of("this-rs")):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FlowWarning)
            try:
                project = Project.of(load_text(text, rules=rules, skip_invalid=rng.random() < 0.5))
            except LoadError as error:
                # it can be printed, whatever is in it
                str(error).encode()
                continue
            assert project.to_yaml() == text
            if rules is FLOWDSL:
                _saves(project)
    return 2


def _saves(project: Project) -> None:
    """What is added comes into the text, and nothing that was in it goes, be it left out or not."""
    changed = project.with_flow(CHANGE)
    try:
        text = changed.to_yaml()
    except FlowError:
        return
    again = Project.of(load_text(text, skip_invalid=bool(project.skipped)))
    assert again == changed
    assert len(again.left_out) == len(project.left_out)


class _Making:
    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.odd = rng.choice([0.0, 0.02, 0.1, 0.3])

    def any(self, depth: int = 0) -> str:
        kind = self.rng.random()
        tag = self.rng.choice(TAGS) if self.rng.random() < self.odd else ""
        if depth < 3 and kind < 0.15:
            return f"{tag}[{', '.join(self.any(depth + 1) for _ in range(self.rng.randint(0, 3)))}]"
        if depth < 3 and kind < 0.35:
            return tag + self.mapping(*((self.rng.choice("abcd"), self.any(depth + 1)) for _ in range(2)))
        if kind < 0.35 + self.odd / 4:
            return self.rng.choice(["&r [*r]", "&p x", "*p ", "*q "])
        return tag + self.rng.choice(SCALARS)

    def maybe(self, good: str) -> str:
        return self.any() if self.rng.random() < self.odd else good

    def mapping(self, *pairs: tuple[str, str]) -> str:
        kept = [f"{key}: {value}" for key, value in pairs if self.rng.random() >= self.odd / 2]
        if self.rng.random() < self.odd / 2:
            kept.append(f"{self.rng.choice(['[x]', 'a', '{y: 1}', '~'])}: {self.any()}")
        return "{" + ", ".join(kept) + "}"

    def step(self) -> str:
        name, *options = self.rng.choice(
            [
                ("resolve", ("from", "source_id"), ("as", "a")),
                ("filter", ("condition", '"link_type exists"')),
                ("deduplicate", ("key", "source_id"), ("window", "5m")),
                ("rate_limit", ("max", "3"), ("per", "1s")),
                ("map", ("template", self.any() if self.rng.random() < 0.4 else "{t: x}")),
                ("deliver", ("sink", "s"), ("sinks", "[a, b]")),
            ]
        )
        made = self.mapping(*((key, self.maybe(value)) for key, value in options))
        return self.maybe(f"{{{name}: {self.maybe(made)}}}")

    def flow(self) -> str:
        steps = [self.step() for _ in range(self.rng.randint(0, 2))]
        steps += ["{map: {template: {t: x}}}", "{deliver: {sink: s}}"]
        return self.mapping(
            ("name", self.maybe(self.rng.choice(NAMES))),
            ("trigger", self.maybe(f"{{kind: {self.maybe('link.created')}}}")),
            ("pipeline", self.maybe(f"[{', '.join(steps)}]")),
        )


def _document(rng: random.Random) -> str:
    made = _Making(rng)
    flows = "\n".join(f"    - {made.maybe(made.flow())}  # {number}" for number in range(rng.randint(1, 3)))
    parts = [f"events:\n  flows:\n{flows}"]
    if rng.random() < 0.6:
        parts = ["entities: " + made.maybe("[]"), "links: " + made.maybe("[]"), *parts]
    if rng.random() < 0.4:
        parts.append(f"sinks: [{{name: s, type: {made.maybe('in_app')}}}]")
    if rng.random() < 0.4:
        parts.append(f"other: {made.any()}")
    return "\n".join(["# head", *parts, ""])


def _mangled(text: str, rng: random.Random) -> str:
    if rng.random() < 0.8:
        return text
    at = rng.randrange(len(text))
    new = rng.choice(
        ["", "\n", "\t", ":", "- ", "\ufeff", "\0", "\ud800", "&a ", "*a", "%", "---\n", "{", "]", "# ", "é"]
    )
    return text[:at] + new + text[at + rng.randint(0, 3) :]
