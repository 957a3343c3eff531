// Linear and SwiGLU of few tokens in fp32: packing the weights would take longer than the products.
#pragma once
#include "few.h"

constexpr int64_t FEW_TOKENS = 96;

static inline void swiglu_few(const float* gate, const float* up, int64_t F, float* a) {
  for (int64_t c = 0; c < F; c += VL) {
    vf g = part(gate, c, F), v = g / (1.0f + exponential(-g)) * part(up, c, F);
    if (c + VL <= F) store(a + c, v);
    else
      for (int64_t i = c; i < F; i++) a[i] = v[i - c];
  }
}

// As `few_product`, its columns shared among threads where that pays.
static void few_product_on(int threads, int64_t M, int64_t N, int64_t K, const float* a,
                           const float* w, float* c) {
  on_threads(M * N * K < (1 << 20) ? 1 : threads, [&](int thread, int all) {
    int64_t first = N / WIDTH * thread / all * WIDTH;
    int64_t last = thread + 1 == all ? N : N / WIDTH * (thread + 1) / all * WIDTH;
    few_product(M, last - first, K, a, K, w + first * K, K, c + first, N, false);
  });
}

static const float* normed_few(const float* x, const float* gain, int64_t M, int64_t K) {
  if (gain == nullptr) return x;
  float* h = scratch.floats(M * K);
  for (int64_t m = 0; m < M; m++) norm_few(x + m * K, gain, K, h + m * K);
  return h;
}

static void linear_few(const float* x, const float* gain, const float* weight, float* y, int64_t M,
                       int64_t K, int64_t N, int threads) {
  Frame frame;
  few_product_on(threads, M, N, K, normed_few(x, gain, M, K), weight, y);
}

static void mlp_few(const float* x, const float* gain, const float* gate_up_weight,
                    const float* down_weight, float* y, int64_t M, int64_t D, int64_t F,
                    int threads) {
  Frame frame;
  float *gate_up = scratch.floats(M * 2 * F), *a = scratch.floats(M * F);
  few_product_on(threads, M, 2 * F, D, normed_few(x, gain, M, D), gate_up_weight, gate_up);
  for (int64_t m = 0; m < M; m++)
    swiglu_few(gate_up + m * 2 * F, gate_up + m * 2 * F + F, F, a + m * F);
  few_product_on(threads, M, D, F, a, down_weight, y);
}
