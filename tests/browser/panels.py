"""What tests of the designer do in its panel, in whatever notebook."""

from __future__ import annotations

from typing import Any


def added_step(panel: Any, method: str) -> Any:
    """Add a step, and return it once it is there."""
    before = panel.locator(".step").count()
    panel.locator(".add").get_by_role("button", name=method, exact=True).click()
    step = panel.locator(".step").nth(before)
    step.wait_for()
    return step
