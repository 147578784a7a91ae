"""Words of other tools for operators are answered with the operator that is meant."""

from __future__ import annotations

import pytest

import flowdsl as fd
from flowdsl import on
from flowdsl.operators import OPERATORS

WORDS = [
    ("filter", "where"), ("when", "where"), ("lookup", "resolve"), ("join", "resolve"), ("fanout", "fan_out"),
    ("flat_map", "for_each"), ("explode", "for_each"), ("dedupe", "deduplicate"), ("digest", "batch"),
    ("debounce", "batch"), ("throttle", "rate_limit"), ("limit", "cap"), ("delay", "wait"), ("sleep", "wait"), ("template", "map"), ("send", "deliver"),
]  # fmt: skip


@pytest.mark.parametrize(("word", "method"), WORDS)
def test_an_unknown_method_names_the_operator_that_is_meant(word: str, method: str):
    with pytest.raises(AttributeError, match=f"has no attribute '{word}'; that is '{method}' here: "):
        getattr(on("link.created"), word)


@pytest.mark.parametrize(("word", "method"), WORDS[2:])
def test_an_unknown_operator_of_yaml_names_the_one_that_is_meant(word: str, method: str):
    text = f"- name: f\n  trigger: {{kind: link.created}}\n  pipeline:\n    - {word}: {{}}\n"
    with pytest.raises(fd.LoadError, match=f"there is no operator '{word}'(.|\n)*did you mean '{method}'"):
        fd.load(text)


def test_no_word_means_two_operators_or_is_one():
    words = [word for operator in OPERATORS.own.values() for word in operator.synonyms]
    assert len(words) == len(set(words))
    assert not {*words} & {name for o in OPERATORS.own.values() for name in (o.name, o.method)}
    assert not [word for word in words if hasattr(fd.Flow, word)]
