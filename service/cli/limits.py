"""An option for each registered limit, and how limits and frozen parts are written in options."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from models.errors import InputError
from search.costs import Limit, registered_limits
from service.cli.common import read_json


class LimitOptions:
    """A command with an option for each limit but latency_ms; its function gets those that are
    given as `limits`, by name.

    The options are made when the command line is built, so that a limit counts which was
    registered after the command was imported.
    """

    def __init__(self, command: Callable[..., None]) -> None:
        self._command = command
        self.__name__, self.__doc__ = command.__name__, command.__doc__

    def __call__(self, **given: Any) -> None:
        """Run the command."""
        options = {limit.name: given.pop(limit.name) for limit in _limits()}
        limits = {name: budget for name, budget in options.items() if budget is not None}
        self._command(**given, limits=limits)

    @property
    def __signature__(self) -> inspect.Signature:
        parameters: list[inspect.Parameter] = []
        for parameter in inspect.signature(self._command, eval_str=True).parameters.values():
            if parameter.name == "limits":
                parameters += map(_option, _limits())
            else:
                parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))
        return inspect.Signature(parameters)

    @property
    def __annotations__(self) -> dict[str, Any]:  # type: ignore[override]
        return {name: p.annotation for name, p in self.__signature__.parameters.items()}


def _limits() -> list[Limit]:
    return [limit for limit in registered_limits().values() if limit.name != "latency_ms"]


def _option(limit: Limit) -> inspect.Parameter:
    return inspect.Parameter(
        limit.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[
            Any, typer.Option(limit.option, help=limit.help, parser=read_limit, metavar=LIMIT)
        ],
    )


LIMIT = "NUMBER|SHARE|RANGE"


def read_limit(text: str) -> float | str | dict[str, float | str]:
    """A number, a share of the largest network ("60%"), or a range of them ("20..25", "20..").

    Raises:
        typer.BadParameter: if it is none.
    """
    low, dots, high = text.partition("..")
    if not dots:
        return _end(text)
    ends = {"min": low.strip(), "max": high.strip()}
    if not any(ends.values()):
        raise typer.BadParameter("expected a range such as 20..25, 20.. or ..25")
    return {name: _end(end) for name, end in ends.items() if end}


def _end(text: str) -> float | str:
    from service.contracts import read_share

    try:
        if text.rstrip().endswith("%"):
            read_share(text)
            return "".join(text.split())
        return float(text)
    except InputError as error:
        raise typer.BadParameter(str(error)) from error
    except ValueError as error:
        raise typer.BadParameter(
            f"{text!r} is no number, share such as 60%, or range such as 20..25"
        ) from error


def read_kept(options: Sequence[str], file: Path | None) -> dict[str, list[float | str]]:
    """The frozen parts of `--keep GENES=CHOICES` and `--freeze FILE` together.

    Raises:
        InputError: if an option is not written so, or one key is given twice.
        InvalidDocument: if the file does not hold.
    """
    from models.spaces import read_frozen

    given: dict[str, object] = {}
    if file is not None:
        given.update(read_json(file).read(read_frozen))
    for option in options:
        key, equals, text = (part.strip() for part in option.partition("="))
        values = [part.strip() for part in text.split(",")]
        if not equals or not key or not all(values):
            raise InputError(
                f"--keep {option}: expected GENES=CHOICES, such as kernel=3,5 or stage2.depth=3"
            )
        if key in given:
            raise InputError(f"--keep {key}: given twice; write its choices as {key}=3,5")
        given[key] = values if key.endswith(".blocks") else [_number(key, v) for v in values]
    return read_frozen(given)


def _number(key: str, text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise InputError(f"--keep {key}: expected numbers, got {text!r}") from error
