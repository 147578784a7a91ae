"""Sinks of other packages: in YAML, the schema, findings, and where production lacks them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from event_tables import log_of

import flowdsl as fd
from tests.plugins import install

SOURCE = """
from flowdsl.operators.options import Option, text_schema
from flowdsl.sinks import Sink

got = []


class Mail(Sink):
    type = "mail"
    summary = "one mail a delivery"
    options = (Option("host", "the server", text_schema("mail.example.org"), required=True),)
    nearest = "use a webhook of the mail server"

    def __init__(self, host):
        if host == "nowhere":
            raise OSError("no such host")
        self.host = host

    def deliver(self, deliveries):
        got.extend((self.host, delivery.payload) for delivery in deliveries)
        return [None] * len(deliveries)
"""
PROJECT = """
events:
  flows:
    - name: f
      trigger: {kind: link.created}
      pipeline:
        - map: {template: {who: "{{ source_id }}"}}
        - deliver: {sink: post}
sinks:
  - {name: post, type: mail, config: {host: mail.example.org}}
"""


@pytest.fixture(autouse=True)
def _mail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch, "acme-mail", SOURCE, {"flowdsl.sinks:mail": "Mail"})


def test_it_is_read_from_yaml_and_built_and_delivered_to() -> None:
    project = fd.load(PROJECT)
    sinks = project.build_sinks()
    fd.replay(project, log_of("| at | source |\n| 0 | ann |"), sinks=sinks, dispatch=True)
    assert sys.modules["acme_mail"].got == [("mail.example.org", {"who": "ann"})]


@pytest.mark.parametrize(
    ("config", "what"),
    [
        ("{hots: a}", "mail has no key 'hots'"),
        ("{host: 7}", "host"),
        ("{host: nowhere}", "mail cannot be made: OSError: no such host"),
    ],
)
def test_its_options_are_checked_as_those_of_any_sink(config: str, what: str) -> None:
    with pytest.raises(fd.LoadError) as refused:
        fd.load(PROJECT.replace("{host: mail.example.org}", config))
    assert what in str(refused.value)


def test_the_schema_knows_it() -> None:
    definitions = fd.schema()["$defs"]
    assert "mail" in definitions["sink"]["properties"]["type"]["enum"]
    assert definitions["mail_config"]["properties"]["host"]["description"].startswith("the server")


def test_production_lacks_it_and_export_and_findings_say_so() -> None:
    project = fd.load(PROJECT)
    with pytest.raises(fd.ExportError) as refused:
        project.to_yaml()
    (problem,) = refused.value.problems
    assert (problem.what, problem.place, problem.hint) == (
        "production has no sinks of the type 'mail'",
        "sink 'post'",
        "use a webhook of the mail server",
    )
    assert "sink-type-unknown" in [found.code for found in project.check(target="this-rs")]
    with pytest.raises(fd.LoadError, match="type 'mail' is not known"):
        fd.load(PROJECT, target="this-rs")
