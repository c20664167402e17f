// The same search and model from a terminal and from Python.

import { savedKey } from "./api.js";

const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;

/** `profile`: of a device that nobody keeps, or whose table is another one now. */
export function curl(search, profile = null) {
  const auth = savedKey() ? ` -H "Authorization: Bearer $SUBNET_KEY"` : "";
  const { supernet, device, constraints, asked, target, frozen, precision, seed, batch } = search.request;
  const body = JSON.stringify({ supernet, device: profile ?? device, constraints: asked ?? constraints, target, frozen, precision, seed, batch });
  const model = `${location.origin}/v1/searches/${search.id}/model.onnx`;
  return [
    `curl -s${auth} -H 'Prefer: wait=60' -H 'Content-Type: application/json' \\`,
    profile ? `  ${location.origin}/v1/searches -d @- <<'END'\n${body}\nEND` : `  ${location.origin}/v1/searches -d ${quoted(body)}`,
    "",
    `curl -s${auth} -o model.onnx ${model}`,
    `echo '${search.result.sha256}  model.onnx' | sha256sum -c`,
  ].join("\n");
}

export function python(search) {
  const headers = savedKey() ? `, headers={"Authorization": "Bearer " + os.environ["SUBNET_KEY"]}` : "";
  const images = search.result.file?.batch;
  const repeated = images > 1 ? `.repeat(${images}, 0)` : "";
  return `import hashlib, json, ${headers ? "os, " : ""}sys, urllib.request
import numpy as np, onnxruntime
from PIL import Image

url = "${location.origin}/v1/searches/${search.id}/model.onnx"
model = urllib.request.urlopen(urllib.request.Request(url${headers})).read()
assert hashlib.sha256(model).hexdigest() == "${search.result.sha256}"

session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
about = json.loads(session.get_modelmeta().custom_metadata_map["subnet_search.preprocess"])
size, channels = about["resolution"], about["channels"]
image = Image.open(sys.argv[1]).convert("L" if channels == 1 else "RGB")
pixels = np.asarray(image.resize((size, size), Image.Resampling.BILINEAR), np.float32)
x = (pixels.reshape(size, size, channels) / 255 - about["mean"]) / about["std"]
logits = session.run(None, {"input": x.transpose(2, 0, 1)[None].astype(np.float32)${repeated}})[0]
print("class", logits.argmax(), "of", logits.shape[1])
`;
}
