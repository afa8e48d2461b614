// Depthwise convolution with ReLU6 on both sides, forward and backward, for channels-last tensors on CPU.
// torch's bfloat16 depthwise backward dominates a training step of EfficientNet-Lite on CPU; this one does not.
// x [N,H,W,C] before ReLU6, weight f32[K*K,C], bias f32[C]; C is a multiple of 16; "same" padding as in TensorFlow.
#include <torch/extension.h>

#include <cstdint>
#include <cstring>
#include <vector>

typedef float vec __attribute__((vector_size(64), aligned(4), may_alias));
constexpr int64_t LANES = 16;

static inline float load(uint16_t value) {
  uint32_t bits = uint32_t(value) << 16;
  float out;
  std::memcpy(&out, &bits, 4);
  return out;
}
static inline float load(float value) { return value; }
static inline void store(float value, uint16_t* out) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  *out = uint16_t((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}
static inline void store(float value, float* out) { *out = value; }
static inline float clamp6(float value) { return value < 0.f ? 0.f : (value > 6.f ? 6.f : value); }

struct Shape {
  int64_t n, c, h, w, oh, ow, kernel, stride, pad;
};

static Shape shape_of(const torch::Tensor& x, int64_t kernel, int64_t stride) {
  Shape s{x.size(0), x.size(1), x.size(2), x.size(3), 0, 0, kernel, stride, 0};
  s.oh = (s.h + stride - 1) / stride;
  s.ow = (s.w + stride - 1) / stride;
  s.pad = stride == 1 ? kernel / 2 : (kernel - 2) / 2;
  return s;
}

// Range of output columns whose tap kx falls into the row.
static inline void columns(const Shape& s, int64_t kx, int64_t* first, int64_t* last) {
  int64_t lo = s.pad - kx;
  *first = lo <= 0 ? 0 : (lo + s.stride - 1) / s.stride;
  const int64_t room = s.w - 1 + s.pad - kx;
  const int64_t hi = room < 0 ? -1 : room / s.stride;
  *last = hi < s.ow - 1 ? hi : s.ow - 1;
}

template <typename T>
static void widen(const T* row, int64_t count, float* out) {
  for (int64_t i = 0; i < count; i++) out[i] = clamp6(load(row[i]));
}

template <typename T>
static void forward(const T* x, const float* weight, const float* bias, T* y, const Shape& s) {
  const int64_t row_in = s.w * s.c, row_out = s.ow * s.c;
#pragma omp parallel
  {
    std::vector<float> ring(s.kernel * row_in), acc(row_out);
    std::vector<int64_t> held(s.kernel, -1);
#pragma omp for schedule(static)
    for (int64_t n = 0; n < s.n; n++) {
      std::fill(held.begin(), held.end(), -1);
      for (int64_t oy = 0; oy < s.oh; oy++) {
        for (int64_t ox = 0; ox < s.ow; ox++) std::memcpy(&acc[ox * s.c], bias, s.c * sizeof(float));
        for (int64_t ky = 0; ky < s.kernel; ky++) {
          const int64_t iy = oy * s.stride - s.pad + ky;
          if (iy < 0 || iy >= s.h) continue;
          float* row = &ring[(iy % s.kernel) * row_in];
          if (held[iy % s.kernel] != iy) {
            widen(x + (n * s.h + iy) * row_in, row_in, row);
            held[iy % s.kernel] = iy;
          }
          for (int64_t c = 0; c < s.c; c += LANES) {
            for (int64_t kx = 0; kx < s.kernel; kx++) {
              int64_t first, last;
              columns(s, kx, &first, &last);
              const vec tap = *(const vec*)(weight + (ky * s.kernel + kx) * s.c + c);
              for (int64_t ox = first; ox <= last; ox++)
                *(vec*)&acc[ox * s.c + c] += tap * *(const vec*)(row + (ox * s.stride - s.pad + kx) * s.c + c);
            }
          }
        }
        T* out = y + (n * s.oh + oy) * row_out;
        for (int64_t i = 0; i < row_out; i++) store(clamp6(acc[i]), out + i);
      }
    }
  }
}

template <typename T>
static void backward(const T* x, const T* y, const T* gy, const float* weight, T* gx, float* gw, float* gb,
                     const Shape& s) {
  const int64_t row_in = s.w * s.c, row_out = s.ow * s.c, taps = s.kernel * s.kernel;
#pragma omp parallel
  {
    std::vector<float> ring(s.kernel * row_in), grads(s.kernel * row_in), delta(row_out);
    std::vector<float> sum_w(taps * s.c), sum_b(s.c), image_w(taps * s.c);
#pragma omp for schedule(static)
    for (int64_t n = 0; n < s.n; n++) {
      std::fill(image_w.begin(), image_w.end(), 0.f);
      int64_t loaded = 0, done = 0;  // input rows in the ring: [done, loaded)
      auto flush = [&](int64_t until) {
        for (; done < until; done++) {
          const float* in = &ring[(done % s.kernel) * row_in];
          const float* g = &grads[(done % s.kernel) * row_in];
          T* out = gx + (n * s.h + done) * row_in;
          for (int64_t i = 0; i < row_in; i++) store(in[i] > 0.f && in[i] < 6.f ? g[i] : 0.f, out + i);
        }
      };
      for (int64_t oy = 0; oy < s.oh; oy++) {
        const int64_t top = oy * s.stride - s.pad;
        if (top > 0) flush(top < s.h ? top : s.h);
        const int64_t bottom = top + s.kernel < s.h ? top + s.kernel : s.h;
        for (; loaded < bottom; loaded++) {
          widen(x + (n * s.h + loaded) * row_in, row_in, &ring[(loaded % s.kernel) * row_in]);
          std::memset(&grads[(loaded % s.kernel) * row_in], 0, row_in * sizeof(float));
        }
        const T* go = gy + (n * s.oh + oy) * row_out;
        const T* out = y + (n * s.oh + oy) * row_out;
        for (int64_t i = 0; i < row_out; i++) {
          const float value = load(out[i]);
          delta[i] = value > 0.f && value < 6.f ? load(go[i]) : 0.f;
        }
        for (int64_t c = 0; c < s.c; c += LANES) {
          vec total = {};
          for (int64_t ox = 0; ox < s.ow; ox++) total += *(const vec*)&delta[ox * s.c + c];
          *(vec*)&sum_b[c] += total;
          for (int64_t ky = 0; ky < s.kernel; ky++) {
            const int64_t iy = top + ky;
            if (iy < 0 || iy >= s.h) continue;
            const float* in = &ring[(iy % s.kernel) * row_in + c];
            float* g = &grads[(iy % s.kernel) * row_in + c];
            for (int64_t kx = 0; kx < s.kernel; kx++) {
              int64_t first, last;
              columns(s, kx, &first, &last);
              const int64_t tap_at = (ky * s.kernel + kx) * s.c + c;
              const vec tap = *(const vec*)(weight + tap_at);
              vec sum = {};
              for (int64_t ox = first; ox <= last; ox++) {
                const vec d = *(const vec*)&delta[ox * s.c + c];
                const int64_t at = (ox * s.stride - s.pad + kx) * s.c;
                *(vec*)(g + at) += d * tap;
                sum += d * *(const vec*)(in + at);
              }
              *(vec*)&image_w[tap_at] += sum;
            }
          }
        }
      }
      flush(loaded);
      for (; done < s.h; done++) std::memset(gx + (n * s.h + done) * row_in, 0, row_in * sizeof(T));
      for (int64_t i = 0; i < taps * s.c; i++) sum_w[i] += image_w[i];
    }
#pragma omp critical
    {
      for (int64_t i = 0; i < taps * s.c; i++) gw[i] += sum_w[i];
      for (int64_t i = 0; i < s.c; i++) gb[i] += sum_b[i];
    }
  }
}

static const auto LAST = torch::MemoryFormat::ChannelsLast;

torch::Tensor run_forward(torch::Tensor x, torch::Tensor weight, torch::Tensor bias, int64_t kernel, int64_t stride) {
  x = x.contiguous(LAST);
  const Shape s = shape_of(x, kernel, stride);
  TORCH_CHECK(s.c % LANES == 0 && weight.is_contiguous() && weight.dtype() == torch::kFloat);
  auto y = torch::empty({s.n, s.c, s.oh, s.ow}, x.options().memory_format(LAST));
  if (x.dtype() == torch::kBFloat16)
    forward((const uint16_t*)x.data_ptr(), weight.data_ptr<float>(), bias.data_ptr<float>(), (uint16_t*)y.data_ptr(), s);
  else
    forward(x.data_ptr<float>(), weight.data_ptr<float>(), bias.data_ptr<float>(), y.data_ptr<float>(), s);
  return y;
}

std::vector<torch::Tensor> run_backward(torch::Tensor x, torch::Tensor y, torch::Tensor gy, torch::Tensor weight,
                                        int64_t kernel, int64_t stride) {
  x = x.contiguous(LAST);
  gy = gy.contiguous(LAST);
  const Shape s = shape_of(x, kernel, stride);
  auto gx = torch::empty_like(x, x.options().memory_format(LAST));
  auto gw = torch::zeros_like(weight), gb = torch::zeros({s.c}, weight.options());
  if (x.dtype() == torch::kBFloat16)
    backward((const uint16_t*)x.data_ptr(), (const uint16_t*)y.data_ptr(), (const uint16_t*)gy.data_ptr(),
             weight.data_ptr<float>(), (uint16_t*)gx.data_ptr(), gw.data_ptr<float>(), gb.data_ptr<float>(), s);
  else
    backward(x.data_ptr<float>(), y.data_ptr<float>(), gy.data_ptr<float>(), weight.data_ptr<float>(),
             gx.data_ptr<float>(), gw.data_ptr<float>(), gb.data_ptr<float>(), s);
  return {gx, gw, gb};
}

PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) {
  m.def("forward", &run_forward);
  m.def("backward", &run_backward);
}
