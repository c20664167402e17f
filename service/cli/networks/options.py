"""Options that commands about networks share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer

from models.errors import InputError
from service.contracts import MAX_BATCH, Effort

if TYPE_CHECKING:
    from service.contracts import FileBatch

PrecisionName = Annotated[str, typer.Option("--precision", help="Of the file: fp32 or int8.")]
RuntimeName = Annotated[
    str | None,
    typer.Option(
        "--runtime",
        help="What will run the network: refused if the device was measured with another one.",
    ),
]
FileBatchOption = Annotated[
    str | None,
    typer.Option(
        "--batch",
        metavar="N|dynamic",
        help="Images that the file is fixed to, as mobile runtimes need it. Default: any number, "
        "unless the device was measured by such a provider.",
    ),
]
AllowLowTop1 = Annotated[
    bool,
    typer.Option(
        "--allow-low-top1",
        help="Take a file also if its measured accuracy is far below the predicted one.",
    ),
]
FeaturesOption = Annotated[
    bool,
    typer.Option(
        "--features",
        help="Give the outputs of the stages too, for the heads of detectors and the like.",
    ),
]
FormatOption = Annotated[
    str,
    typer.Option(
        "--format", help="onnx: a file; torch: a folder that needs only torch, to be fine-tuned."
    ),
]


def read_batch(text: str | None) -> FileBatch | None:
    if text is None or text == "dynamic":
        return text  # type: ignore[return-value]  # mypy does not narrow a str to the literal
    if text.isdecimal() and 1 <= int(text[:9]) <= MAX_BATCH:
        return int(text)
    raise InputError(f"--batch: expected 1 to {MAX_BATCH}, or dynamic, got {text!r:.40}")


def read_effort(text: str) -> Effort:
    if text not in get_args(Effort):
        raise InputError(f"--effort: expected quick, normal or thorough, got {text!r:.40}")
    return cast(Effort, text)


def check_precision(precision: str) -> None:
    if precision not in ("fp32", "int8"):
        raise InputError(f"precision: expected fp32 or int8, got {precision!r}")
