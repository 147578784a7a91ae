"""The rules of this-rs, the production runtime: where it differs from flowdsl, as its engine was seen to behave.

How it reads YAML is `this_rs_loader`, how its conditions compare `this_rs_conditions`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from flowdsl.rules import FLOWDSL, Rules

THIS_RS: Final[Rules] = replace(
    FLOWDSL,
    name="this-rs",
    early_checks=False,
    event_variable=False,
    timers=False,
    batch_names=("_batch",),
    typed_keys=False,
    null_keys=True,
    exact_tokens=False,
    # a variable is handed to the sink; only a sink that was handed none looks into the payload
    recipient=(("recipient_id",), ("target_id",), ("_payload", "recipient_id")),
    uuids=True,
    first_type=True,
    entity_ids=False,
    crashes=True,
)
