"""A home with one tiny supernet and one made-up device, and the service on it."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.concurrency import run_in_threadpool
from safetensors.torch import save
from sqlalchemy import Engine
from typer.testing import CliRunner

import service.catalog.fronts
from latency_tables.table.conditions import Conditions
from latency_tables.table.table import LatencyTable, LayerLatency, space_layers
from models.bundle.bundle import Bundle, add_to_bundle, write_bundle
from models.spaces import SearchSpace
from models.supernet.supernet import Supernet, initialize
from search.evolution.effort import EFFORTS, Work
from search.front import front
from search.predictors.gaussian_process_fit import fit_gaussian_process
from service.catalog.catalog import Catalog, open_catalog
from service.cli import app as cli
from service.http.app import create_app
from service.jobs.queue import Durable
from service.settings import Settings
from service.storage.database import current_database, migrate, open_database
from service.storage.devices import Revision
from service.storage.searches import SearchStore
from tests.fakes import FakeTable, LinearAccuracy
from tests.postgres import Cluster, cluster, find_binaries
from tests.service.stored import ManualClock
from tests.spaces import DEBUG

SUPERNET, DEVICE = "debug-net", "debug-device"
DATABASES = ("sqlite", pytest.param("postgresql", marks=pytest.mark.postgres))


def make_table(device: str = DEVICE, of: SearchSpace = DEBUG, **changes: object) -> LatencyTable:
    """A complete table of a space; its figures are those of `FakeTable`."""
    times = FakeTable()
    entries = {
        key: LayerLatency(p50_ms=ms, mean_ms=ms, std_ms=0.01 * ms, count=100)
        for key, ms in ((k, times.layer_ms(layer)) for k, layer in space_layers(of).items())
    }
    fields = {
        "device": device,
        "space": of.name,
        "origin": "measured",
        "source": "made up",
        "conditions": Conditions(runtime="fake", precision="fp32", batch=1),
        "entries": entries,
        "network_overhead_ms": times.network_overhead_ms,
        "expected_error": 0.04,
    }
    return LatencyTable(**{**fields, **changes})  # type: ignore[arg-type]


def make_profile(name: str = "posted", **changes: object) -> dict[str, Any]:
    """A device profile as a user posts it."""
    entries = make_table().entries
    return {
        "name": name,
        "runtime": "fake",
        "precision": "fp32",
        "batch": 1,
        "conditions": {"threads": 1},
        "space": DEBUG.name,
        "table": {key: {"p50_ms": entry.p50_ms} for key, entry in entries.items()},
        **changes,
    }


def make_bundle(path: Path, space: SearchSpace = DEBUG) -> Bundle:
    """A bundle with random weights and images, and a predictor of made-up accuracies."""
    supernet = Supernet(space)
    initialize(supernet, 0)
    rng = np.random.default_rng(0)

    def images(count: int) -> bytes:
        buffer = io.BytesIO()
        pixels = rng.integers(0, 256, (count, 12, 12), dtype=np.uint8)
        np.savez_compressed(buffer, images=pixels, labels=rng.integers(0, 10, count))
        return buffer.getvalue()

    card = {
        "name": path.name,
        "space": space.to_json(),
        "preprocess": {"mean": [0.286], "std": [0.353]},
        "licence": "none",
    }
    files = {
        "weights.safetensors": save(
            {key: value.contiguous() for key, value in supernet.state_dict().items()}
        ),
        "calibration.npz": images(64),
        "validation.npz": images(100),
    }
    bundle = write_bundle(path, card, files)
    genes = np.unique(space.sample(120, rng), axis=0)
    top1 = LinearAccuracy(space).predict(genes)
    predictor = fit_gaussian_process(space, genes, top1, seed=0, target="made-up accuracies")
    predictor.save(path / "fitted")
    content = (path / "fitted").read_bytes()
    (path / "fitted").unlink()
    return add_to_bundle(bundle, {}, {"predictor.safetensors": content})


def catalog_of(home: Path) -> Catalog:
    """The supernets and devices of a home."""
    return open_catalog(Settings(home=home))


def keep(home: Path, table: LatencyTable, *, replace: bool = False) -> Revision:
    """Keep a table in a home's database."""
    return catalog_of(home).devices.add(table, replace=replace)


@pytest.fixture(scope="session", autouse=True)
def short_searches() -> Iterator[None]:
    """The made-up space has 800 networks: a fraction of the work finds the best of them. Searches
    and fronts with the default settings are tested in tests/search."""
    few = Work(evaluations=1_000, batch=100, capacity=4, slack=0.5)
    with pytest.MonkeyPatch.context() as patch:
        for effort in ("quick", "normal", "thorough"):
            patch.setitem(EFFORTS, effort, few)
        patch.setattr(service.catalog.fronts, "front", partial(front, work=few))
        yield


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home that is made once; tests work on copies."""
    home = tmp_path_factory.mktemp("template")
    make_bundle(home / "supernets" / SUPERNET)
    keep(home, make_table())
    return home


@pytest.fixture
def home(template: Path, tmp_path: Path) -> Path:
    """A home of the test's own."""
    return Path(shutil.copytree(template, tmp_path / "home"))


@pytest.fixture
def settings(home: Path) -> Settings:
    """Quick to notice, without workers: a test runs one if it wants one."""
    return Settings(home=home, workers=0, poll_interval_s=0.03)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Cluster]:
    """A PostgreSQL server of this run's own."""
    if find_binaries() is None:
        pytest.skip("PostgreSQL is not installed (on Debian: apt-get install postgresql)")
    with cluster() as running:
        yield running


@pytest.fixture(params=DATABASES)
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'deep' / 'new.sqlite'}"
    running: Cluster = request.getfixturevalue("postgres")
    return running.create_database()


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database that has been migrated; tests work on copies."""
    path = tmp_path_factory.mktemp("migrated") / "empty.sqlite"
    with current_database(f"sqlite:///{path}"):
        return path


@pytest.fixture(scope="session")
def migrated_postgres(postgres: Cluster) -> str:
    """A database that has been migrated."""
    url = postgres.create_database()
    with current_database(url):
        return url


@pytest.fixture(params=DATABASES)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A migrated database of each kind, without rows."""
    if request.param == "postgresql":
        running: Cluster = request.getfixturevalue("postgres")
        migrated: str = request.getfixturevalue("migrated_postgres")
        running.empty(migrated)
        return migrated
    copied = shutil.copy(request.getfixturevalue("migrated_sqlite"), tmp_path / "test.sqlite")
    return f"sqlite:///{copied}"


@pytest.fixture
def clock() -> ManualClock:
    """Stands until it is moved."""
    return ManualClock()


@pytest.fixture
def stored(engine: Engine, clock: ManualClock) -> SearchStore:
    """A store on each kind of database, without a queue."""
    return SearchStore(engine, clock)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """A migrated database of each kind, without rows."""
    engine = open_database(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def home_engine(settings: Settings) -> Iterator[Engine]:
    """The database of the home."""
    engine = open_database(settings.database)
    migrate(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def store(home_engine: Engine) -> SearchStore:
    """A store whose searches are enqueued."""
    return SearchStore(home_engine, enqueue=Durable(home_engine).enqueue)


@asynccontextmanager
async def client_of(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an application that is started and stopped around it."""
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as client,
    ):
        yield client


@asynccontextmanager
async def client_on(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a service of these settings."""
    async with client_of(create_app(settings)) as client:
        yield client


@asynccontextmanager
async def busy_on(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a service with a worker in this process, which is quicker to start."""
    app = create_app(settings.model_copy(update={"workers": 0}))
    async with client_of(app) as client:
        worker = app.state.service.worker()
        with ExitStack() as stack:
            await run_in_threadpool(stack.enter_context, worker.working())
            yield client
            await run_in_threadpool(stack.close)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """What async tests run on."""
    return "asyncio"


@pytest.fixture
def run(home, monkeypatch):
    monkeypatch.setenv("SUBNET_HOME", str(home))

    def run(*args, code=0):
        result = CliRunner().invoke(cli, [str(arg) for arg in args])
        assert result.exit_code == code, result.output
        errors = [line for line in result.stderr.splitlines() if line.lower().startswith("error:")]
        assert len(errors) == (code != 0), result.stderr
        return result

    return run


@pytest.fixture
def run_json(run):
    def run_json(*args):
        return json.loads(run(*args, "--json").stdout)

    return run_json
