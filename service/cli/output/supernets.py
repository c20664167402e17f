"""What a supernet can be used for, in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from service.contracts import Capabilities, NextStepRead


def can_in_words(capabilities: Capabilities | None) -> str:
    """What a supernet can be used for now."""
    if capabilities is None:  # of an older service
        return "unknown"
    can = [name for name, value in capabilities.model_dump().items() if value]
    return ", ".join(can) or "nothing yet"


def print_next_steps(steps: Sequence[NextStepRead]) -> None:
    """A line for each command that adds what is missing."""
    for step in steps:
        needs = f"  ({step.needs})" if step.needs else ""
        typer.echo(f"to {', '.join(step.adds)}: {step.command}{needs}")
