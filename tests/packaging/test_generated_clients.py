"""Clients that others generate from the API's description do the main job."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.packaging.tools import PLACE, other_tool

pytestmark = pytest.mark.release

# Media types that the generator does not know.
PYTHON_CONFIG = """
content_type_overrides: {image/svg+xml: text/plain}
package_name_override: generated
project_name_override: generated
post_hooks: []
"""
PYTHON_SCRIPT = """
import sys, time
from generated.client import Client
from generated.models import Constraints, Problem, SearchRequest
from generated.api.searches import create_search_v1_searches_post as create
from generated.api.searches import download_model_v1_searches_search_id_model_onnx_get as model
from generated.api.searches import draw_search_v1_searches_search_id_architecture_svg_get as svg
from generated.api.searches import read_search_v1_searches_search_id_get as read

with Client(base_url=sys.argv[1], timeout=300) as client:
    def request(latency_ms):
        limits = Constraints(latency_ms=latency_ms)
        return SearchRequest("fashion-mbv3", "cpu-x86-64-ort", constraints=limits)
    search = create.sync(client=client, body=request(0.4), prefer="wait=60")
    while search.status not in ("succeeded", "failed"):
        time.sleep(0.2)
        search = read.sync(search.id, client=client)
    open("model.onnx", "wb").write(model.sync(search.id, client=client).payload.read())
    open("network.svg", "w").write(svg.sync(search.id, client=client))
    refused = create.sync(client=client, body=request(0.001))
    assert isinstance(refused, Problem) and refused.floor
    print(search.result.sha256)
"""
TYPESCRIPT_SCRIPT = """
import { writeFileSync } from "node:fs";
import createClient from "openapi-fetch";
import type { paths } from "./schema.js";

const client = createClient<paths>({ baseUrl: process.argv[2] });
const request = (latency_ms: number) => ({
  headers: { "Content-Type": "application/json" },
  params: { header: { prefer: "wait=60" } },
  body: { supernet: "fashion-mbv3", device: "cpu-x86-64-ort", constraints: { latency_ms } },
});
const made = await client.POST("/v1/searches", request(0.4));
let search = made.data!;
const params = { path: { search_id: search.id } };
while (search.status !== "succeeded" && search.status !== "failed") {
  await new Promise((resolve) => setTimeout(resolve, 200));
  search = (await client.GET("/v1/searches/{search_id}", { params })).data!;
}
const file = "/v1/searches/{search_id}/model.onnx";
const model = await client.GET(file, { params, parseAs: "arrayBuffer" });
writeFileSync("model.onnx", Buffer.from(model.data!));
const picture = "/v1/searches/{search_id}/architecture.svg";
const svg = await client.GET(picture, { params, parseAs: "text" });
writeFileSync("network.svg", svg.data!);
const refused = await client.POST("/v1/searches", request(0.001));
if (!refused.error?.floor) throw new Error("expected the floor");
console.log(search.result!.sha256);
"""


def run(*command: object, folder: Path) -> str:
    """What a program printed; it must succeed."""
    done = subprocess.run(
        list(map(str, command)), cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def described(service_url: str, tmp_path: Path) -> Path:
    """A folder with the description of a running service."""
    document = httpx.get(f"{service_url}/openapi.json").json()
    (tmp_path / "openapi.json").write_text(json.dumps(document))
    return tmp_path


def check(folder: Path, printed: str) -> None:
    """The main job was done."""
    model = (folder / "model.onnx").read_bytes()
    assert hashlib.sha256(model).hexdigest() == printed.strip()
    assert (folder / "network.svg").read_text().startswith("<svg")


def test_openapi_python_client(service_url: str, described: Path):
    generator = other_tool("openapi-python-client")
    (described / "config.yaml").write_text(PYTHON_CONFIG)
    options = ("--meta", "none", "--output-path", "generated", "--config", "config.yaml")
    said = run(generator, "generate", "--path", "openapi.json", *options, folder=described)
    assert "WARNING" not in said, said  # of operations that it leaves out
    (described / "job.py").write_text(PYTHON_SCRIPT)
    check(described, run(sys.executable, "job.py", service_url, folder=described))


def test_openapi_typescript(service_url: str, described: Path):
    generator, compiler, node = map(other_tool, ("openapi-typescript", "tsc", "node"))
    (described / "node_modules").symlink_to(PLACE / "node_modules")
    (described / "package.json").write_text('{"type": "module"}')
    (described / "job.ts").write_text(TYPESCRIPT_SCRIPT)
    # Else a field of a request that has a default would have to be given.
    optional = "--default-non-nullable=false"
    run(generator, "openapi.json", "-o", "schema.d.ts", optional, folder=described)
    (described / "node.d.ts").write_text(
        "declare const process: { argv: string[] };\n"
        "declare const Buffer: { from(data: ArrayBuffer): Uint8Array };\n"
        'declare module "node:fs" {\n'
        "  export function writeFileSync(path: string, data: string | Uint8Array): void;\n}\n"
    )
    options = {"strict": True, "target": "es2022", "module": "nodenext", "types": []}
    settings = {"compilerOptions": options, "files": ["node.d.ts", "job.ts"]}
    (described / "tsconfig.json").write_text(json.dumps(settings))
    run(compiler, folder=described)
    check(described, run(node, "job.js", service_url, folder=described))
