"""`devices import` and `devices fit`: tables from files, and from the times of whole networks.

`importing` has the tables in others' formats."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from models.errors import InputError
from service.cli.common import Json, catalog, read_json
from service.cli.devices.importing import (
    Mapping,
    Precision,
    Request,
    Resolutions,
    TablePath,
    Unit,
    import_foreign,
)
from service.cli.devices.listing import show_all


def import_(
    name: Annotated[
        str, typer.Argument(help="Name for the device; or a file: a profile, or what a kit wrote.")
    ],
    space: Annotated[
        str | None, typer.Option(help="Supernet whose search space the table covers.")
    ] = None,
    table: TablePath = None,
    ofa_lut: Annotated[
        Path | None, typer.Option(help="The same: a folder of YAML files, one a resolution.")
    ] = None,
    unit: Unit = None,
    mapping: Mapping = None,
    resolution: Resolutions = None,
    precision: Precision = "fp32",
    source: Annotated[
        str, typer.Option(help="Who measured it, in a sentence.")
    ] = "imported from files in the published format",
    replace: Annotated[bool, typer.Option("--replace", help="Replace a table of yours.")] = False,
    sitting: Annotated[
        bool,
        typer.Option(
            "--sitting",
            help="Of a file that a kit wrote later: keep the table, and add a sitting to it.",
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Import a device: a profile's file, or a table of layers in a format of others."""
    known = catalog()
    if table is not None and ofa_lut is not None:
        raise InputError("import: expected FILE_OR_FOLDER or --ofa-lut, not both")
    path = table or ofa_lut
    if sitting:
        if replace or path is not None or space is not None:
            raise InputError("import: expected --sitting with a file alone")
        from service.catalog import keep_sitting, read_sitting

        sat = keep_sitting(known, *read_sitting(known, read_json(Path(name))))
        show_all([sat.table.device], json=json)
        return
    if path is None and space is None:
        profile = read_json(Path(name)).read(known.read_profile)
        known.keep_device(profile, replace=replace)
        show_all([profile.device], json=json)
        return
    if path is None or space is None:
        raise InputError(
            "import: expected NAME with both --space and FILE_OR_FOLDER (or --ofa-lut), or a file "
            "alone"
        )
    import_foreign(
        known,
        Request(name, space, path, source, unit, mapping, resolution, precision),
        replace=replace,
        json=json,
    )


def fit(
    name: Annotated[str, typer.Argument(help="Name for the device.")],
    space: Annotated[str, typer.Option(help="Name of the search space.")],
    measurements: Annotated[
        Path,
        typer.Option(
            help='Whole networks: {"arch": [...], "latency_ms": [...], "batch": 1}; or profiles of '
            "AI Hub: a file, a folder, or a list of them."
        ),
    ],
    donor: Annotated[
        str | None,
        typer.Option(
            help="A similar device to start from: then 3 networks are enough, otherwise 10."
        ),
    ] = None,
    runtime: Annotated[
        str | None,
        typer.Option(help="What ran the networks. Default: what the file says, else not stated."),
    ] = None,
    precision: Annotated[str, typer.Option(help="fp32, fp16, bf16 or int8.")] = "fp32",
    source: Annotated[
        str, typer.Option(help="Who measured, in a sentence.")
    ] = "measured by the user",
    replace: Annotated[bool, typer.Option("--replace", help="Replace a table of yours.")] = False,
    json: Json = False,
) -> None:
    """Fit a table to times of whole networks, or of a few and a similar device."""
    from latency_tables.published import is_ai_hub, read_ai_hub

    document, networks = None, None
    if is_ai_hub(measurements):
        networks = read_ai_hub(measurements)
    else:
        document = read_json(measurements)
        networks = document.value
    stated = networks if isinstance(networks, dict) else {}
    profile = {
        "name": name,
        "space": space,
        "runtime": runtime or stated.get("runtime", "not stated"),
        "precision": precision,
        "batch": 1 if stated.get("batch") is None else stated["batch"],
        "conditions": {},
        "source": source,
        "measurements": networks,
        **({} if donor is None else {"donor": donor}),
    }
    known = catalog()
    if document is None:
        try:
            table = known.read_profile(profile)
        except InputError as error:
            raise InputError(f"{measurements}: {error}") from error
    else:
        table = document.read(lambda _: known.read_profile(profile))
    known.keep_device(table, replace=replace)
    show_all([name], json=json)
