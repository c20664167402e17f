// Weight gradient of a depthwise convolution, channels-last, for training on a CPU.
//
// oneDNN has a fast path for 3x3 only; 5x5 and 7x7 fall to a kernel several times slower than
// memory allows. Here 8 channels of one image are copied, zero-padded, into a block that stays
// in the L1 cache, and a row of K accumulators stays in registers.
//
// The batch is cut into a fixed number of chunks whose partial sums are added in order, so the
// result does not depend on the number of threads.
#include <cstring>
#include <vector>

typedef float v8 __attribute__((vector_size(32), aligned(4)));
static const long LANES = 8, CHUNKS = 8;

template <int K>
static void weight_gradient(const float* x, const float* grad, float* out, long batch, long height,
                            long width, long channels, long out_height, long out_width, long stride) {
    const long pad = K / 2, row = width + 2 * pad, rows = height + 2 * pad, blocks = channels / LANES;
    std::vector<float> partial(CHUNKS * blocks * K * K * LANES, 0.f);
#pragma omp parallel
    {
        std::vector<float> xs(rows * row * LANES, 0.f), gs(out_height * out_width * LANES);
#pragma omp for collapse(2) schedule(static)
        for (long chunk = 0; chunk < CHUNKS; chunk++)
            for (long block = 0; block < blocks; block++) {
                v8 sum[K * K];
                for (int tap = 0; tap < K * K; tap++) sum[tap] = v8{};
                for (long n = batch * chunk / CHUNKS; n < batch * (chunk + 1) / CHUNKS; n++) {
                    for (long h = 0; h < height; h++)
                        for (long w = 0; w < width; w++)
                            *(v8*)&xs[((h + pad) * row + w + pad) * LANES] =
                                *(const v8*)&x[((n * height + h) * width + w) * channels + block * LANES];
                    for (long o = 0; o < out_height * out_width; o++)
                        *(v8*)&gs[o * LANES] =
                            *(const v8*)&grad[(n * out_height * out_width + o) * channels + block * LANES];
                    for (int i = 0; i < K; i++) {
                        v8 taps[K];
                        for (int j = 0; j < K; j++) taps[j] = sum[i * K + j];
                        for (long h = 0; h < out_height; h++) {
                            const float* xrow = &xs[(h * stride + i) * row * LANES];
                            const float* grow = &gs[h * out_width * LANES];
                            for (long w = 0; w < out_width; w++) {
                                const v8 g = *(const v8*)&grow[w * LANES];
                                const float* at = xrow + w * stride * LANES;
                                for (int j = 0; j < K; j++) taps[j] += g * *(const v8*)&at[j * LANES];
                            }
                        }
                        for (int j = 0; j < K; j++) sum[i * K + j] = taps[j];
                    }
                }
                for (int tap = 0; tap < K * K; tap++)
                    *(v8*)&partial[((chunk * blocks + block) * K * K + tap) * LANES] = sum[tap];
            }
    }
    for (long block = 0; block < blocks; block++)
        for (int tap = 0; tap < K * K; tap++)
            for (long lane = 0; lane < LANES; lane++) {
                float total = 0;
                for (long chunk = 0; chunk < CHUNKS; chunk++)
                    total += partial[((chunk * blocks + block) * K * K + tap) * LANES + lane];
                out[(block * LANES + lane) * K * K + tap] = total;
            }
}

// x (batch, height, width, channels), grad (batch, out_height, out_width, channels), both dense;
// out (channels, kernel, kernel). Returns 1 where the kernel size or channel count is not covered.
extern "C" int depthwise_weight_gradient(const float* x, const float* grad, float* out, long batch,
                                         long height, long width, long channels, long out_height,
                                         long out_width, long kernel, long stride) {
    if (channels % LANES) return 1;
    switch (kernel) {
        case 5: weight_gradient<5>(x, grad, out, batch, height, width, channels, out_height, out_width, stride); return 0;
        case 7: weight_gradient<7>(x, grad, out, batch, height, width, channels, out_height, out_width, stride); return 0;
    }
    return 1;
}
