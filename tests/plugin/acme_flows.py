"""One of each kind that a package can add to flowdsl."""

import zlib
from dataclasses import dataclass

import numpy as np

from flowdsl import extend as fx


@dataclass(frozen=True)
class Sample(fx.Operator):
    name = method = "sample"
    summary = "go on with a share of the values of a path"
    example = "then(Sample(0.5, 'source_id'))"

    fraction: float = fx.option(fx.number(0, 1, 0.5), "the share of the values that go on")
    key: str = fx.option(fx.PATH, "the path of the value", key=True)
    kind = fx.Kind.PER_EVENT

    def kernel(self, rules):
        return SampleKernel(self)


class SampleKernel(fx.Kernel):
    def __init__(self, options):
        self.options = options

    def run(self, contexts, until):
        values = contexts.column(self.options.key).values()
        kept = np.array(
            [zlib.crc32(str(v).encode()) % 100 < self.options.fraction * 100 for v in values], bool
        )
        dropped = fx.dropped_rows(contexts, np.flatnonzero(~kept), "not sampled")
        return fx.StepOutcome(contexts.take(np.flatnonzero(kept)), dropped=dropped)


class Mail(fx.Sink):
    type = "mail"
    summary = "a mail for each delivery"
    options = (fx.Option("sender", "who sends it", {"type": "string", "examples": ["a@b.c"]}, required=True),)

    def __init__(self, sender):
        self.sender, self.sent = sender, []

    def deliver(self, deliveries):
        self.sent += [(self.sender, one.payload["title"]) for one in deliveries]
        return [None] * len(deliveries)


def pairs(path, problems):
    rows = [dict(pair.split("=") for pair in line.split()) for line in path.read_text().splitlines()]
    yield fx.TextBlock(str(path), range(len(rows)), rows)


INITIALS = fx.Filter("initials", lambda value, args: "".join(word[0] for word in value.split()))
DOMAIN = fx.Function("domain", "Return what follows the @.", "domain(source_id)", {"text": ("text",)}, "text", lambda text: text.rpartition("@")[2])  # fmt: skip
NO_SAMPLE = fx.Rule("no-sample", "note", False, fx.FlowView, lambda flow: () if any(s.name == "sample" for s in flow.steps) else [flow.remark("every event goes on")])  # fmt: skip
PAIRS = fx.FileFormat("pairs", (".pairs",), pairs)
