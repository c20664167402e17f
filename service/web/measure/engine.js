// ONNX Runtime Web in a worker: opening and running models with one backend.

const ASSETS = "/assets/onnxruntime-web/";
export const RUNTIME = "onnxruntime-web";

/** The two files of a backend: the smallest that have it. */
export function filesOf(backend) {
  if (backend === "wasm") return ["ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"];
  // Where WebAssembly can wait for the GPU by itself, ten megabytes less.
  return "Suspending" in WebAssembly ? ["ort.jspi.bundle.min.mjs", "ort-wasm-simd-threaded.jspi.wasm"] : ["ort.webgpu.bundle.min.mjs", "ort-wasm-simd-threaded.asyncify.wasm"];
}

/** Bytes of a backend's files before compression, or null if they are not there. */
export async function sizeOf(backend) {
  const sizes = await Promise.all(filesOf(backend).map((file) => fetch(ASSETS + file, { method: "HEAD" })));
  if (!sizes.every((response) => response.ok)) return null;
  return sizes.reduce((sum, response) => sum + Number(response.headers.get("Content-Length") ?? 0), 0);
}

/** What this browser's WebGPU runs on, in words; null if it has none. */
export async function gpuAdapter() {
  try {
    const info = (await navigator.gpu.requestAdapter()).info;
    return [info.vendor, info.architecture, info.device, info.description].filter(Boolean).join(" ") || "not named";
  } catch {
    return null;
  }
}

export async function startEngine(backend, threads) {
  const ort = await import(ASSETS + filesOf(backend)[0]);
  ort.env.logLevel = "error";
  ort.env.wasm.numThreads = backend === "wasm" && crossOriginIsolated ? threads : 1;
  return new Engine(ort, backend);
}

class Engine {
  constructor(ort, backend) {
    Object.assign(this, { ort, backend });
  }

  get threads() {
    return this.ort.env.wasm.numThreads;
  }

  get version() {
    return this.ort.env.versions.web ?? this.ort.env.versions.common;
  }

  /** A model with random input of `shape`, or with what `run` is given. */
  async open(bytes, shape) {
    const session = await this.ort.InferenceSession.create(bytes, { executionProviders: [this.backend] });
    const [name] = session.inputNames;
    const [output] = session.outputNames;
    const tensor = (values, dims) => new this.ort.Tensor("float32", values, dims);
    const size = shape.reduce((product, side) => product * side, 1);
    const feeds = { [name]: tensor(Float32Array.from({ length: size }, () => Math.random() - 0.5), shape) };
    return {
      // The output is read by the processor, so a run on a GPU has ended.
      run: () => session.run(feeds),
      logits: async (values) => (await session.run({ [name]: tensor(values, shape) }))[output].data,
      release: () => session.release(),
    };
  }
}
