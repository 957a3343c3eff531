// Sums of earlier states under given weights, several ways at once; a state's gradient in one pass.
//
// M tokens of width D, all fp32. A reader's weights are C ways of S sources for each token, or the
// same for all: `step` is C S, or 0.
#pragma once
#include "depth.h"
#include "lanes.h"

// out: C pointers to (M, D); out_c = sum_s w[c, s] v_s.
static void dense_forward(const float* const* values, const float* weights, float* const* out,
                          int64_t C, int64_t S, int64_t M, int64_t D, int64_t step, int threads) {
  on_threads(threads, [&](int thread, int all) {
    auto [first, last] = share(M, VL, thread, all);
    for (int64_t m = first; m < last; m++) {
      const int64_t at = m * D;
      const float* w = weights + m * step;
      for (int64_t s = 0; s < S; s++) fetch(values[s] + at + AHEAD * D, D);
      for (int64_t way = 0; way < C; way += 4) {
        const int64_t ways = std::min<int64_t>(4, C - way);
        by_lanes(D, [&](auto zero, int64_t c) {
          typedef decltype(zero) V;
          V sums[4] = {};
          for (int64_t s = 0; s < S; s++) {
            V v = get<V>(values[s] + at + c);
            for (int64_t i = 0; i < ways; i++) sums[i] = sums[i] + w[(way + i) * S + s] * v;
          }
          for (int64_t i = 0; i < ways; i++) put<V>(out[way + i] + at + c, sums[i]);
        });
      }
    }
  });
}

// d_weights: (M, C, S), or (C, S) where they are the same for all. d_out: C pointers, null ones for
// ways without a gradient.
static void dense_weights_backward(const float* const* values, const float* const* d_out,
                                   float* d_weights, int64_t C, int64_t S, int64_t M, int64_t D,
                                   int64_t step, int threads) {
  Frame frame;
  std::vector<float*> parts((size_t)threads);
  float* sums = scratch.zeros(threads * C * S);
  for (int t = 0; t < threads; t++) parts[(size_t)t] = sums + t * C * S;
  on_threads(threads, [&](int thread, int all) {
    auto [first, last] = share(M, VL, thread, all);
    for (int64_t m = first; m < last; m++) {
      for (int64_t s = 0; s < S; s++) {
        fetch(values[s] + (m + AHEAD) * D, D);
        for (int64_t c = 0; c < C; c++) {
          float d = d_out[c] == nullptr ? 0 : dot(d_out[c] + m * D, values[s] + m * D, D);
          if (step != 0) d_weights[m * step + c * S + s] = d;
          else parts[(size_t)thread][c * S + s] += d;
        }
      }
    }
  });
  if (step == 0) gather(parts, S, C, S, d_weights);
}

// A source's gradient: n ways of its readers send d_out (M, D) under weights that lie a step apart.
// d_v, where not null, is what else it has.
static void dense_source_backward(const float* d_v, const float* const* d_out,
                                  const float* const* weights, const int64_t* steps, float* d_sum,
                                  int64_t n, int64_t M, int64_t D, int threads) {
  on_threads(threads, [&](int thread, int all) {
    Frame inner;
    float* w = scratch.floats(n);
    auto [first, last] = share(M, VL, thread, all);
    for (int64_t m = first; m < last; m++) {
      const int64_t at = m * D;
      for (int64_t r = 0; r < n; r++) {
        w[r] = weights[r][m * steps[r]];
        fetch(d_out[r] + at + AHEAD * D, D);
      }
      by_columns(D, [&](auto vectors, int64_t c) {
        constexpr int N = decltype(vectors)::value;
        vf sums[N] = {};
#pragma GCC unroll 8
        for (int j = 0; j < N; j++)
          if (d_v != nullptr) sums[j] = load(d_v + at + c + j * VL);
        for (int64_t r = 0; r < n; r++) add_weighted<float, N>(sums, w[r], d_out[r] + at + c);
#pragma GCC unroll 8
        for (int j = 0; j < N; j++) store(d_sum + at + c + j * VL, sums[j]);
      });
      for (int64_t c = D / VL * VL; c < D; c++) {
        float total = d_v == nullptr ? 0 : d_v[at + c];
        for (int64_t r = 0; r < n; r++) total += w[r] * d_out[r][at + c];
        d_sum[at + c] = total;
      }
    }
  });
}
