"""How much the property tests try: a fixed amount every day, more with FLOWDSL_HYPOTHESIS=long, as in
`make test-slow`, and far more with FLOWDSL_HYPOTHESIS=deep.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings

import flowdsl as fd

settings.register_profile(
    "everyday",
    max_examples=10,
    deadline=None,
    derandomize=True,
    database=None,
    print_blob=False,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)
settings.register_profile(
    "long", settings.get_profile("everyday"), max_examples=40, derandomize=False, print_blob=True
)
settings.register_profile(
    "deep", settings.get_profile("everyday"), max_examples=1000, derandomize=False, print_blob=True
)
settings.load_profile(os.environ.get("FLOWDSL_HYPOTHESIS", "everyday"))

# jsonschema imports it where JupyterLab brought it, for a format that no schema here has, and it takes two seconds
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]


@pytest.fixture(params=["memory", "folder"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    if request.param == "memory":
        yield fd.MemoryEventLog()
        return
    with fd.ParquetEventLog(tmp_path / "log", "none") as log:
        yield log
