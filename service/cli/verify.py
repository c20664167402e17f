"""`keygen` and `verify`: signing keys, and checks of finished files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from models.errors import InputError
from service.cli.common import Json, catalog, print_warnings, settings
from service.cli.output import print_json, print_table


def keygen(
    out: Annotated[Path, typer.Option("-o", help="PEM file to write the private key to.")],
    json: Json = False,
) -> None:
    """Create the private key with which the service signs models (SUBNET_SIGNING_KEY=FILE)."""
    from service.delivery import generate

    if not out.absolute().parent.is_dir() or out.is_dir():
        raise InputError(f"{out}: expected a file in a folder that exists")
    public = generate(out)
    if json:
        print_json({"private_key": str(out), "public_key": str(public)})
        return
    typer.echo(f"private key: {out} (keep it; SUBNET_SIGNING_KEY={out.resolve()} signs with it)")
    typer.echo(f"public key: {public} (give it to whoever verifies)")


def verify(
    file: Annotated[Path, typer.Argument(help="An ONNX file of this project.")],
    signature: Annotated[
        Path | None, typer.Option(help="Detached signature. Default: FILE.sig if it exists.")
    ] = None,
    public_key: Annotated[
        Path | None, typer.Option(help="PEM file. Default: the service's own key, if one is set.")
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(help="The calibration folder that the file was exported with, if any."),
    ] = None,
    allow_low_top1: Annotated[
        bool,
        typer.Option(
            "--allow-low-top1",
            help="Pass a file also if its measured accuracy is far below the predicted one.",
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Check a file's signature, structure, parity with its supernet, accuracy and time."""
    from service.delivery import Unverified, read_public, verify_file

    configured = settings()
    beside = file.with_name(f"{file.name}.sig")
    signature = signature or (beside if beside.is_file() else None)
    if public_key is None and signature is not None:
        public_key = configured.signing_key
    checks = verify_file(
        _read(file),
        catalog(),
        signature=None if signature is None else _read(signature),
        key=None if public_key is None else read_public(public_key),
        calibration=calibration,
        threads=configured.threads,
        allow_low_top1=allow_low_top1,
        warn=print_warnings,
    )
    failed = [check.name for check in checks if check.passed is False]
    if json:
        document = {"file": str(file), "passed": not failed}
        print_json({**document, "checks": [check.to_json() for check in checks]})
    else:
        words = {True: "passed", False: "FAILED", None: "not judged"}
        print_table(
            ("check", "result", "stated", "found", "detail"),
            [
                (c.name, words[c.passed], _short(c.stated), _short(c.found), c.detail)
                for c in checks
            ],
        )
    if failed:
        raise Unverified(f"{file}: {', '.join(failed)} failed")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
