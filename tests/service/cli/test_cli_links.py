"""`devices link` and `try` at a service, followed until the device is stored."""

from __future__ import annotations

import asyncio
import re
import shutil
from threading import Thread

import httpx
import pytest

from service.client.links_client import LinksClient
from service.settings import Settings
from tests.service.conftest import SUPERNET, make_table
from tests.service.links.phone import Phone, install_runtime
from tests.service.serving import serving
from tests.spaces import DEBUG

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def url(template, tmp_path_factory):
    home = shutil.copytree(template, tmp_path_factory.mktemp("linked") / "home")
    install_runtime(home)
    with serving(Settings(home=home, workers=0)) as url:
        yield url


def measure(url, code):
    """A device opens a link and is measured."""

    async def act():
        async with httpx.AsyncClient(base_url=url) as client:
            phone = Phone(client, make_table(), DEBUG)
            assert (await phone.open(code)).status_code == 201
            await phone.report(share=0.9)
            plan = (await phone.get("/plan")).json()
            assert (await phone.send(phone.result(plan))).status_code == 201

    asyncio.run(act())


def test_a_link_as_json(run_json, url):
    made = run_json("devices", "link", "my-phone", "--supernet", SUPERNET, "--server", url)
    assert made["url"] == f"{url}/measure#{made['code']}"
    assert {"url", "code", "expires_at"} <= set(made)
    assert made["device"] == "my-phone"


def test_followed_until_the_device_is_stored(run, url, monkeypatch):
    """The device opens what the command prints."""
    monkeypatch.setattr("service.client.links_client.FOLLOW_EVERY_S", 0.01)
    follow, threads = LinksClient.follow_link, []

    def opened(self, link, **options):
        threads.append(Thread(target=measure, args=(url, link.code)))
        threads[0].start()
        return follow(self, link, **options)

    monkeypatch.setattr(LinksClient, "follow_link", opened)
    shown = run("devices", "link", "--supernet", SUPERNET, "--server", url)
    threads[0].join()
    assert "█" in shown.stdout
    assert re.search(r"within 30 minutes: http://127.0.0.1:\d+/measure#[\w-]{22}", shown.stdout)
    assert "android-phone for space" in shown.stdout
    assert "fitted, expected error of a whole network" in shown.stdout
    assert "reached from this machine alone" in shown.stderr


def test_ctrl_c_leaves_the_link_alone(run, url, monkeypatch):
    def stopped(self, link, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(LinksClient, "follow_link", stopped)
    from typer.testing import CliRunner

    from service.cli import app

    command = ["devices", "link", "--supernet", SUPERNET, "--server", url]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 130
    assert "the link goes on without this command" in result.stderr


def test_what_goes_wrong(run, url, monkeypatch):
    monkeypatch.setattr("service.client.links_client.FOLLOW_EVERY_S", 0.01)
    nowhere = run(
        "devices", "link", "--supernet", SUPERNET, "--server", "http://127.0.0.1:9", code=1
    )
    assert "subnet-search serve --host 0.0.0.0" in nowhere.stderr
    unknown = run("devices", "link", "--supernet", "nobodys", "--server", url, code=2)
    assert "nobodys" in unknown.stderr
    assert run("try", "nobodys", "--server", url, code=2)
    follow = LinksClient.follow_link

    def cancelled(self, link, **options):
        self.cancel_link(link.id)
        return follow(self, link, **options)

    monkeypatch.setattr(LinksClient, "follow_link", cancelled)
    ended = run("devices", "link", "--supernet", SUPERNET, "--server", url, code=1)
    assert "was cancelled" in ended.stderr


def test_runtimes(run, run_json, home, monkeypatch):
    monkeypatch.delenv("SUBNET_RUNTIMES", raising=False)
    (missing,) = [r for r in run_json("runtimes", "list") if r["name"] == "onnxruntime-web"]
    assert (missing["version"], missing["install"]) == (
        None,
        "subnet-search runtimes install onnxruntime-web",
    )
    install_runtime(home)
    (found,) = [r for r in run_json("runtimes", "list") if r["name"] == "onnxruntime-web"]
    assert (found["version"], found["install"]) == ("1.30.0", None)
    wrong = run("runtimes", "install", "onnxruntime-web", "--from", home / "x.tgz", code=2)
    assert "not readable" in wrong.stderr
    assert "runtimes list" in run("runtimes", "install", "tvm", code=2).stderr
