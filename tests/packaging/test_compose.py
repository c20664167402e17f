"""compose.yaml cannot be run where there is no Docker; what it must say can be read anywhere."""

from __future__ import annotations

import re
import subprocess
import tomllib

import pytest
import yaml
from typer.main import get_command

from service import __version__
from service.cli import app
from service.settings import Settings
from tests.packaging.conftest import ROOT
from tests.packaging.tools import other_tool

NAMED = {"SUBNET_ALLOWED_HOSTS": "named_hosts", "SUBNET_TRUSTED_PROXIES": "proxy_networks"}


@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load((ROOT / "compose.yaml").read_text())


def test_it_follows_the_schema_that_compose_publishes(tmp_path):
    check = (other_tool("check-jsonschema"), "--builtin-schema", "vendor.compose-spec")
    done = subprocess.run([*check, ROOT / "compose.yaml"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    wrong = tmp_path / "compose.yaml"
    wrong.write_text((ROOT / "compose.yaml").read_text().replace("restart:", "restarts:"))
    assert subprocess.run([*check, wrong], capture_output=True).returncode == 1


def test_one_database_one_api_two_workers(compose):
    services = compose["services"]
    assert set(services) == {"postgres", "api", "worker"}
    assert services["worker"]["deploy"]["replicas"] == 2
    assert services["postgres"]["image"].startswith("postgres:")


@pytest.mark.parametrize("name", ["api", "worker"])
def test_processes_share_database_and_models_and_wait_for_the_database(compose, name):
    service = compose["services"][name]
    environment = service["environment"]
    fields = {f"SUBNET_{field.upper()}" for field in Settings.model_fields}
    assert set(environment) <= fields, "a variable that nobody reads"
    assert environment["SUBNET_WORKERS"] == "0", "the workers are the other service"
    user = compose["services"]["postgres"]["environment"]
    url = environment["SUBNET_DATABASE_URL"]
    assert url.startswith(f"postgresql://{user['POSTGRES_USER']}:${{SUBNET_POSTGRES_PASSWORD")
    assert url.endswith(f"@postgres/{user['POSTGRES_DB']}")
    assert service["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    assert service["volumes"] == ["data:/data"]
    volumes = {
        volume.partition(":")[0] for s in compose["services"].values() for volume in s["volumes"]
    }
    assert volumes == set(compose["volumes"])


def test_commands_exist_and_the_image_serves_by_default(compose):
    program, command = compose["services"]["worker"]["command"]
    assert program == "subnet-search"
    assert command in getattr(get_command(app), "commands", {})
    assert "command" not in compose["services"]["api"]
    assert '"subnet-search", "serve"' in (ROOT / "Dockerfile").read_text()
    assert "ENV SUBNET_HOME=/data" in (ROOT / "Dockerfile").read_text()


def test_it_is_reached_from_this_machine_alone_and_has_no_password_in_it(compose):
    api = compose["services"]["api"]
    assert all(port.startswith("127.0.0.1:") for port in api["ports"])
    assert api["environment"]["SUBNET_ACCESS"] == "required"
    for name, always in (("SUBNET_ALLOWED_HOSTS", "api,"), ("SUBNET_TRUSTED_PROXIES", "")):
        given = f"{always}${{{name}:-}}"
        assert api["environment"][name] == given, "nothing else, unless its user says so"
        unset = Settings.model_validate({name.removeprefix("SUBNET_").lower(): always})
        named = {("api", None)} if always else set()
        assert set(getattr(unset, NAMED[name])) == named, "containers call each other by name"
    assert compose["services"]["postgres"]["environment"]["POSTGRES_PASSWORD"].startswith("${")


def test_a_worker_has_time_to_put_back_what_it_does(compose):
    seconds = float(compose["services"]["worker"]["stop_grace_period"].removesuffix("s"))
    assert seconds > Settings().shutdown_s


def test_the_image_says_which_version_it_holds():
    assert f'image.version="{__version__}"' in (ROOT / "Dockerfile").read_text()


def test_the_image_copies_what_a_wheel_holds_and_nothing_else():
    image = (ROOT / "Dockerfile").read_text().rpartition("\nFROM ")[2]
    copied = set(re.findall(r"^COPY (\w+) \1$", image, re.M))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]["custom"]
    assert copied == {*wheel["files"], "wheels"}
    sent = (ROOT / ".dockerignore").read_text().split()
    assert {f"!{name}" for name in copied} <= set(sent)
