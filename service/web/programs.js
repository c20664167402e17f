// Programs that run a delivered model, as docs/running.md has them, with the model's own numbers.

/** As a literal of C++ and Kotlin. */
const float = (value = 0) => `${Number.isInteger(value) ? value.toFixed(1) : value}f`;

/** Of a search's result: [[language, program], ...]; none of a result of an earlier version, or of a
 * file that takes several images at once, as these programs do not. */
export function programs(url, { file }) {
  if (!file?.preprocess || file.batch > 1) return [];
  const { channels, sizes, crop_share, mean, std } = file.preprocess;
  const how = { channels, sizes, crop_share, mean, std };
  return [
    ["JavaScript", javascript(url, how)],
    ["C++", cpp(how)],
    ["Kotlin, for Android", kotlin(how)],
  ];
}

const javascript = (url, how) => `import * as ort from "onnxruntime-web";

const how = ${JSON.stringify(how)};

async function classify(session, photo) { // an ImageBitmap, a canvas or a decoded <img>
  let [picture, width, height] = [photo, photo.width, photo.height];
  const side = how.crop_share * Math.min(width, height); // NaN: the whole photo
  let box = side ? [(width - side) / 2, (height - side) / 2, side, side] : [0, 0, width, height];
  for (const size of how.sizes) {
    const canvas = new OffscreenCanvas(size, size);
    const context = canvas.getContext("2d");
    context.imageSmoothingQuality = "high"; // antialiased
    context.drawImage(picture, ...box, 0, 0, size, size);
    [picture, box] = [canvas, [0, 0, size, size]];
  }
  const size = picture.width;
  const rgba = picture.getContext("2d").getImageData(0, 0, size, size).data;
  const input = new Float32Array(how.channels * size * size);
  for (let at = 0; at < size * size; at++) {
    const [red, green, blue] = rgba.subarray(4 * at, 4 * at + 3);
    const values = how.channels === 1 ? [0.299 * red + 0.587 * green + 0.114 * blue] : [red, green, blue];
    values.forEach((value, c) => (input[c * size * size + at] = (value / 255 - how.mean[c]) / how.std[c]));
  }
  const tensor = new ort.Tensor("float32", input, [1, how.channels, size, size]);
  const { logits } = await session.run({ input: tensor });
  return logits.data.indexOf(Math.max(...logits.data));
}

const session = await ort.InferenceSession.create("${url}");
`;

const cpp = (how) => `#include <onnxruntime_cxx_api.h>
#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>
#include <algorithm>
#include <array>
#include <string>
#include <vector>

const int channels = ${how.channels};
const std::vector<int> sizes{${how.sizes.join(", ")}};
const float crop_share = ${float(how.crop_share)};  // 0: the whole photo
const std::vector<float> mean{${how.mean.map(float).join(", ")}}, deviation{${how.std.map(float).join(", ")}};

std::vector<float> read(const std::string& path) {
  cv::Mat photo = cv::imread(path, channels == 1 ? cv::IMREAD_GRAYSCALE : cv::IMREAD_COLOR);
  if (channels == 3) cv::cvtColor(photo, photo, cv::COLOR_BGR2RGB);
  if (crop_share > 0) {
    const int side = cvRound(crop_share * std::min(photo.cols, photo.rows));
    photo = photo(cv::Rect((photo.cols - side) / 2, (photo.rows - side) / 2, side, side)).clone();
  }
  for (int size : sizes) {
    const bool shrinks = std::min(photo.cols, photo.rows) > size;
    cv::resize(photo, photo, {size, size}, 0, 0, shrinks ? cv::INTER_AREA : cv::INTER_LINEAR);
  }
  std::vector<float> input;
  for (int c = 0; c < channels; ++c)
    for (int y = 0; y < photo.rows; ++y)
      for (int x = 0; x < photo.cols; ++x)
        input.push_back((photo.ptr(y)[x * channels + c] / 255.f - mean[c]) / deviation[c]);
  return input;
}

int classify(std::vector<float> input) {
  static Ort::Env env;
  static Ort::Session session(env, "model.onnx", Ort::SessionOptions{});
  std::array<int64_t, 4> shape{1, channels, sizes.back(), sizes.back()};
  auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
  auto tensor = Ort::Value::CreateTensor<float>(memory, input.data(), input.size(), shape.data(), 4);
  const char* inputs[] = {"input"};
  const char* outputs[] = {"logits"};
  auto found = session.Run(Ort::RunOptions{}, inputs, &tensor, 1, outputs, 1);
  const float* logits = found[0].GetTensorData<float>();
  auto classes = found[0].GetTensorTypeAndShapeInfo().GetElementCount();
  return std::max_element(logits, logits + classes) - logits;
}
`;

const kotlin = (how) => `val channels = ${how.channels}
val sizes = listOf(${how.sizes.join(", ")})
val cropShare = ${float(how.crop_share)}  // 0: the whole photo
val mean = floatArrayOf(${how.mean.map(float).join(", ")})
val std = floatArrayOf(${how.std.map(float).join(", ")})
val env = OrtEnvironment.getEnvironment()
val options = OrtSession.SessionOptions().apply { addNnapi() }  // without it: the CPU
val session = env.createSession(assets.open("model.onnx").readBytes(), options)

fun shrunk(photo: Bitmap, size: Int): Bitmap {
    var small = photo
    fun half(side: Int) = if (side > 2 * size) side / 2 else side  // halves are antialiased
    while (small.width > 2 * size || small.height > 2 * size)
        small = Bitmap.createScaledBitmap(small, half(small.width), half(small.height), true)
    return Bitmap.createScaledBitmap(small, size, size, true)
}

fun classify(photo: Bitmap): Int {
    var picture = photo
    if (cropShare > 0) {
        val side = (cropShare * minOf(photo.width, photo.height)).roundToInt()
        picture = Bitmap.createBitmap(photo, (photo.width - side) / 2, (photo.height - side) / 2, side, side)
    }
    for (size in sizes) picture = shrunk(picture, size)
    val size = sizes.last()
    val input = FloatBuffer.allocate(channels * size * size)
    for (c in 0 until channels) for (y in 0 until size) for (x in 0 until size) {
        val rgb = picture.getPixel(x, y)
        val level = if (channels == 3) (rgb shr (16 - 8 * c) and 255).toFloat()
            else 0.299f * Color.red(rgb) + 0.587f * Color.green(rgb) + 0.114f * Color.blue(rgb)
        input.put((level / 255f - mean[c]) / std[c])
    }
    input.rewind()
    val shape = longArrayOf(1, channels.toLong(), size.toLong(), size.toLong())
    OnnxTensor.createTensor(env, input, shape).use { tensor ->
        session.run(mapOf("input" to tensor)).use { found ->
            val logits = (found[0].value as Array<FloatArray>)[0]
            return logits.indices.maxBy { logits[it] }
        }
    }
}
`;
