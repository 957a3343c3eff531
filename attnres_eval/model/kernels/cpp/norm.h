// RMSNorm of a row and its gradient; exponentials of a row.
#pragma once
#include "gemm.h"

constexpr float EPSILON = 1e-6f;

static inline float inverse_rms(const float* x, int64_t n) {
  vf total = {};
  for (int64_t c = 0; c < padded(n); c += VL) {
    vf v = load(x + c);
    total = total + v * v;
  }
  return 1.0f / std::sqrt(sum(total) / (float)n + EPSILON);
}

// h = x / rms(x) * gain; without a gain h is x. All rows padded with zeros. Returns 1 / rms(x).
static inline float norm_row(const float* x, const float* gain, int64_t n, float* h) {
  if (gain == nullptr) {
    memcpy(h, x, (size_t)padded(n) * 4);
    return 1;
  }
  float scale = inverse_rms(x, n);
  for (int64_t c = 0; c < padded(n); c += VL) store(h + c, load(x + c) * load(gain + c) * scale);
  return scale;
}

// dx out of dh, in place; adds to the gain's gradient.
static inline void norm_row_backward(const float* x, const float* gain, float scale, int64_t n,
                                     float* dh, float* d_gain) {
  if (gain == nullptr) return;
  vf total = {};
  for (int64_t c = 0; c < padded(n); c += VL) {
    vf v = load(x + c) * scale, d = load(dh + c);
    store(d_gain + c, load(d_gain + c) + d * v);
    total = total + d * load(gain + c) * v;
  }
  float mean = sum(total) / (float)n;
  for (int64_t c = 0; c < padded(n); c += VL) {
    vf v = load(x + c) * scale;
    store(dh + c, (load(dh + c) * load(gain + c) - v * mean) * scale);
  }
}

// A copy of a vector of n floats, padded with zeros; null stays null.
static inline const float* padded_copy(const float* src, int64_t n) {
  if (src == nullptr) return nullptr;
  float* p = scratch.floats(padded(n));
  read_row(src, n, p);
  return p;
}

// exp(row - shift) over the first `valid` entries, zero up to `width`; returns the sum.
static inline float exponentials(float* row, int64_t valid, int64_t width, float shift) {
  vf total = {};
  int64_t c = 0;
  for (; c + VL <= valid; c += VL) {
    vf e = exponential(load(row + c) - shift);
    store(row + c, e);
    total = total + e;
  }
  if (c < valid) {
    vf e = first_of(exponential(load(row + c) - shift), valid - c);
    store(row + c, e);
    total = total + e;
    c += VL;
  }
  for (; c < width; c += VL) store(row + c, vf{});
  return sum(total);
}

// The largest of the first entries.
static inline float largest_of(const float* row, int64_t valid) {
  vf best = splat(row[0]);
  int64_t c = 0;
  for (; c + VL <= valid; c += VL) best = larger(load(row + c), best);
  float most = top(best);
  for (; c < valid; c++) most = row[c] > most ? row[c] : most;
  return most;
}
