// The same search and model from a terminal and from Python.

import { savedKey } from "./api.js";

const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;

/** `profile`: of a device that nobody keeps, or whose table is another one now. */
export function curl(search, profile = null) {
  const auth = savedKey() ? ` -H "Authorization: Bearer $SUBNET_KEY"` : "";
  const { supernet, device, constraints, asked, target, frozen, effort, precision, seed, batch } = search.request;
  const body = JSON.stringify({ supernet, device: profile ?? device, constraints: asked ?? constraints, target, frozen, effort, precision, seed, batch });
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
  // Files of earlier versions do not state how photos of other shapes are treated.
  const stated = search.result.file?.preprocess ? "" : `how = {"fit": "squeeze", "sizes": [how["resolution"]], **how}\n`;
  return `import hashlib, json, ${headers ? "os, " : ""}sys, urllib.request
import numpy as np, onnxruntime
from PIL import Image, ImageOps

url = "${location.origin}/v1/searches/${search.id}/model.onnx"
model = urllib.request.urlopen(urllib.request.Request(url${headers})).read()
assert hashlib.sha256(model).hexdigest() == "${search.result.sha256}"

session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
facts = session.get_modelmeta().custom_metadata_map
how = json.loads(facts["subnet_search.preprocess"])
${stated}photo = ImageOps.exif_transpose(Image.open(sys.argv[1]))
photo = photo.convert("L" if how["channels"] == 1 else "RGB")
box = None  # the whole photo
if how["fit"] == "center_crop":
    side = how["crop_share"] * min(photo.size)
    left, top = (photo.width - side) / 2, (photo.height - side) / 2
    box = (left, top, left + side, top + side)
for size in how["sizes"]:
    photo, box = photo.resize((size, size), Image.Resampling.BILINEAR, box), None
pixels = np.asarray(photo, np.float32).reshape(size, size, -1) / 255
pixels = (pixels - np.float32(how["mean"])) / np.float32(how["std"])
(logits,) = session.run(None, {"input": pixels.transpose(2, 0, 1)[None]${repeated}})
classes = json.loads(facts.get("subnet_search.classes", "null"))  # null: nobody named them
answer = logits[0].argmax()
print("class", answer, "of", logits.shape[1], classes[answer] if classes else "(without a name)")
`;
}
