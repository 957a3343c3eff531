// Causal attention with the rotary embedding, out of one tensor (B, T, (H + 2 G) K).
//
// All keys of a head lie in cache, so a block of queries meets them at once: a plain softmax.
#pragma once
#include "linear.h"

struct Heads {
  int64_t B, T, H, G, K;
  int64_t width() const { return (H + 2 * G) * K; }
};

// f(first column, how many) for vectors of n columns, of which the last may be a part.
template <class F>
static inline void by_parts(int64_t n, F f) {
  int64_t c = 0;
  for (; c + VL <= n; c += VL) f(c, std::integral_constant<int, VL>());
  if (c < n) f(c, n - c);
}
template <class T>
static inline vf load_first(const T* p, int64_t n) { return n == VL ? load(p) : load_part(p, n); }
template <class T>
static inline void store_first(T* p, vf x, int64_t n) {
  if (n == VL) store(p, x);
  else store_part(p, x, n);
}

// A head's rows with the rotary embedding, (T, padded K), times scale.
template <class Y>
static void rotated(const Y* src, int64_t ld, int64_t T, int64_t K, const float* cos,
                    const float* sin, float scale, float* dst) {
  const int64_t kp = padded(K), half = K / 2;
  for (int64_t t = 0; t < T; t++) {
    const Y* x = src + t * ld;
    const float *c = cos + t * K, *s = sin + t * K;
    float* out = dst + t * kp;
    by_parts(half, [&](int64_t j, auto n) {
      auto at = [&](auto* p) { return load_first(p + j, n); };
      vf first = at(x), second = at(x + half);
      store_first(out + j, (first * at(c) + second * at(s)) * scale, n);
      store_first(out + j + half, (second * at(c + half) + first * at(s + half)) * scale, n);
    });
    zero_padding(out, K);
  }
}

// The gradient of what `rotated` read, out of that of what it wrote.
template <class Y>
static void rotated_backward(const float* d, int64_t T, int64_t K, const float* cos,
                             const float* sin, float scale, Y* dst, int64_t ld) {
  const int64_t kp = padded(K), half = K / 2;
  for (int64_t t = 0; t < T; t++) {
    const float *c = cos + t * K, *s = sin + t * K, *g = d + t * kp;
    Y* out = dst + t * ld;
    by_parts(half, [&](int64_t j, auto n) {
      auto at = [&](const float* p) { return load_first(p + j, n); };
      vf first = at(g), second = at(g + half);
      store_first(out + j, (first * at(c) + second * at(s + half)) * scale, n);
      store_first(out + j + half, (second * at(c + half) + first * at(s)) * scale, n);
    });
  }
}

// out: (B, T, H K). lse: log of each row's normaliser, (B, H, T), or null.
template <class P, class Y>
static void attention_forward(const Y* qkv, const float* cos, const float* sin, Y* out, float* lse,
                              Heads s, int threads) {
  const int64_t T = s.T, K = s.K, kp = padded(K), ku = units<P>(K), tu = units<P>(T);
  const int64_t tp = padded(T), width = s.width(), group = s.H / s.G;
  const float scale = 1.0f / std::sqrt((float)K);
  on_threads(threads, [&](int thread, int all) {
    Frame frame;
    float *k_rows = scratch.floats(T * kp), *q_rows = scratch.floats(T * kp);
    float *k_packed = scratch.floats(packed_size(ku, T)), *v_packed = scratch.floats(tu * kp);
    float *scores = scratch.floats(ROWS * tp), *weights = scratch.floats(ROWS * tp);
    float *q = scratch.floats(ROWS * kp), *o = scratch.floats(ROWS * kp);
    const int64_t q_row = kp / P::per_unit, w_row = tp / P::per_unit;
    int64_t pairs = s.B * s.G;
    for (int64_t pair = pairs * thread / all; pair < pairs * (thread + 1) / all; pair++) {
      int64_t b = pair / s.G, g = pair % s.G;
      const Y* base = qkv + b * T * width;
      rotated(base + (s.H + g) * K, width, T, K, cos, sin, 1, k_rows);
      pack_transposed<P>(k_rows, kp, K, T, k_packed);
      for (int64_t t = 0; t < T; t++)
        read_row(base + t * width + (s.H + s.G + g) * K, K, k_rows + t * kp);
      pack_rows<P>(k_rows, kp, T, K, v_packed, 0, tu);
      for (int64_t h = g * group; h < (g + 1) * group; h++) {
        rotated(base + h * K, width, T, K, cos, sin, scale, q_rows);
        for (int64_t m = 0; m < T; m += ROWS) {
          int64_t rows = std::min(ROWS, T - m), keys = m + rows;
          for (int64_t i = 0; i < rows; i++) to_row<P>(q_rows + (m + i) * kp, K, q + i * q_row);
          product<P>(rows, keys, ku, q, q_row, 1, k_packed, T, ku, scores, tp, false);
          for (int64_t i = 0; i < rows; i++) {
            float *row = scores + i * tp, most = largest_of(row, m + i + 1);
            float total = exponentials(row, m + i + 1, padded(keys), most), factor = 1 / total;
            typename P::row* w = (typename P::row*)(weights + i * w_row);
            for (int64_t c = 0; c < padded(keys); c += VL) store(w + c, load(row + c) * factor);
            if (lse != nullptr) lse[(b * s.H + h) * T + m + i] = most + std::log(total);
          }
          product<P>(rows, K, units<P>(keys), weights, w_row, 1, v_packed, K, tu, o, kp, false);
          for (int64_t i = 0; i < rows; i++)
            write_row(o + i * kp, K, out + ((b * T + m + i) * s.H + h) * K);
        }
      }
    }
  });
}

template <class P, class Y>
static void attention_backward(const Y* qkv, const float* cos, const float* sin, const float* lse,
                               const Y* d_out, Y* d_qkv, Heads s, int threads) {
  const int64_t T = s.T, K = s.K, kp = padded(K), ku = units<P>(K), tu = units<P>(T);
  const int64_t tp = padded(T), width = s.width(), group = s.H / s.G;
  const float scale = 1.0f / std::sqrt((float)K);
  on_threads(threads, [&](int thread, int all) {
    Frame frame;
    float *rows_in = scratch.floats(T * kp), *q_rows = scratch.floats(T * kp);
    float *k_packed = scratch.floats(packed_size(ku, T)), *k_panels = scratch.floats(tu * kp);
    float* v_packed = scratch.floats(packed_size(ku, T));
    float *dk = scratch.floats(T * kp), *dv = scratch.floats(T * kp), *dq = scratch.floats(T * kp);
    float *p = scratch.floats(ROWS * tp), *dp = scratch.floats(ROWS * tp);
    float *p_columns = scratch.floats(ROWS * tp), *ds_columns = scratch.floats(ROWS * tp);
    float *ds_rows = scratch.floats(ROWS * tp), *o = scratch.floats(ROWS * kp);
    float *q = scratch.floats(ROWS * kp), *o_rows = scratch.floats(ROWS * kp);
    float *q_panels = scratch.floats(ROWS * kp), *o_panels = scratch.floats(ROWS * kp);
    const int64_t q_row = kp / P::per_unit, w_row = tp / P::per_unit;
    int64_t pairs = s.B * s.G;
    for (int64_t pair = pairs * thread / all; pair < pairs * (thread + 1) / all; pair++) {
      int64_t b = pair / s.G, g = pair % s.G;
      const Y* base = qkv + b * T * width;
      Y* d_base = d_qkv + b * T * width;
      for (int64_t t = 0; t < T; t++)
        read_row(base + t * width + (s.H + s.G + g) * K, K, rows_in + t * kp);
      pack_transposed<P>(rows_in, kp, K, T, v_packed);
      rotated(base + (s.H + g) * K, width, T, K, cos, sin, 1, rows_in);
      pack_transposed<P>(rows_in, kp, K, T, k_packed);
      pack_rows<P>(rows_in, kp, T, K, k_panels, 0, tu);
      memset(dk, 0, (size_t)(T * kp) * 4);
      memset(dv, 0, (size_t)(T * kp) * 4);
      for (int64_t h = g * group; h < (g + 1) * group; h++) {
        rotated(base + h * K, width, T, K, cos, sin, scale, q_rows);
        for (int64_t m = 0; m < T; m += ROWS) {
          int64_t rows = std::min(ROWS, T - m), keys = m + rows, row_units = units<P>(rows);
          for (int64_t i = 0; i < rows; i++) {
            to_row<P>(q_rows + (m + i) * kp, K, q + i * q_row);
            read_row(d_out + ((b * T + m + i) * s.H + h) * K, K, o + i * kp);
            to_row<P>(o + i * kp, K, o_rows + i * q_row);
          }
          product<P>(rows, keys, ku, q, q_row, 1, k_packed, T, ku, p, tp, false);
          product<P>(rows, keys, ku, o_rows, q_row, 1, v_packed, T, ku, dp, tp, false);
          for (int64_t i = 0; i < rows; i++) {
            float *row = p + i * tp, *d = dp + i * tp;
            exponentials(row, m + i + 1, padded(keys), lse[(b * s.H + h) * T + m + i]);
            vf total = {};
            for (int64_t c = 0; c < padded(m + i + 1); c += VL)
              total = total + load(row + c) * load(d + c);
            float mean = sum(total);
            for (int64_t c = 0; c < padded(keys); c += VL)
              store(d + c, load(row + c) * (load(d + c) - mean));
            to_row<P>(d, keys, ds_rows + i * w_row);
          }
          pack_columns<P>(p, tp, rows, keys, p_columns, tp);
          pack_columns<P>(dp, tp, rows, keys, ds_columns, tp);
          pack_rows<P>(o, kp, rows, K, o_panels, 0, row_units);
          pack_rows<P>(q_rows + m * kp, kp, rows, K, q_panels, 0, row_units);
          product<P>(keys, K, row_units, p_columns, 1, tp, o_panels, K, row_units, dv, kp, true);
          product<P>(keys, K, row_units, ds_columns, 1, tp, q_panels, K, row_units, dk, kp, true);
          product<P>(rows, K, units<P>(keys), ds_rows, w_row, 1, k_panels, K, tu, dq + m * kp, kp,
                     false);
        }
        rotated_backward(dq, T, K, cos, sin, scale, d_base + h * K, width);
      }
      rotated_backward(dk, T, K, cos, sin, 1, d_base + (s.H + g) * K, width);
      for (int64_t t = 0; t < T; t++)
        write_row(dv + t * kp, K, d_base + t * width + (s.H + s.G + g) * K);
    }
  });
}
