"""An option for each registered limit."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from search.costs import Limit, registered_limits


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
        annotation=Annotated[float | None, typer.Option(limit.option, help=limit.help)],
    )
