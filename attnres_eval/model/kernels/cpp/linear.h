// y = norm(x) W^T, and SwiGLU: y = (silu(g) * u) W_down^T with [g, u] = norm(x) W_gate_up^T.
#pragma once
#include "norm.h"

constexpr int64_t ROWS = 48;  // tokens whose intermediate results stay in cache

// Tokens summed at a time in a weight's gradient, which is read and written anew each time.
template <class P>
constexpr int64_t CHUNK = (P::per_unit == 2 ? 12 : 4) * ROWS;
template <class P>
constexpr int64_t CHUNK_UNITS = CHUNK<P> / P::per_unit;

// Tokens [first, last) of a thread, in whole blocks of rows.
static inline std::pair<int64_t, int64_t> share(int64_t M, int64_t step, int thread, int threads) {
  int64_t blocks = (M + step - 1) / step;
  return {std::min(M, blocks * thread / threads * step),
          std::min(M, blocks * (thread + 1) / threads * step)};
}

// Walks through a thread's tokens: `few` takes up to ROWS of them, whose first unit in the chunk's
// panels is told with all units of the chunk; `whole` ends a chunk.
template <class P, class Few, class Whole>
static inline void by_chunks(int64_t M, int thread, int threads, Few few, Whole whole) {
  auto [first, last] = share(M, ROWS, thread, threads);
  for (int64_t m0 = first; m0 < last; m0 += CHUNK<P>) {
    int64_t chunk = std::min(CHUNK<P>, last - m0), all_units = units<P>(chunk);
    for (int64_t m = m0; m < m0 + chunk; m += ROWS)
      few(m, std::min(ROWS, m0 + chunk - m), (m - m0) / P::per_unit, all_units);
    whole(all_units);
  }
}

// Sums what threads have gathered, in their order, into out[rows, columns].
static void gather(const std::vector<float*>& parts, int64_t ld, int64_t rows, int64_t columns,
                   float* out) {
  for (int64_t r = 0; r < rows; r++)
    for (int64_t c = 0; c < columns; c++) {
      float total = 0;
      for (const float* part : parts) total += part[r * ld + c];
      out[r * columns + c] = total;
    }
}

// A gradient (rows, columns) that threads sum up, each in rows of padded(columns) floats of its own;
// one thread alone in `out` itself, where its rows need no padding.
struct Sums {
  int64_t rows, columns, ld;
  float* out;
  std::vector<float*> parts;
  bool direct;
  Sums(int64_t rows, int64_t columns, float* out, int threads)
      : rows(rows), columns(columns), ld(padded(columns)), out(out), parts((size_t)threads),
        direct(threads == 1 && ld == columns && out != nullptr) {
    for (float*& part : parts) {
      part = direct ? out : scratch.floats(rows * ld);
      memset(part, 0, (size_t)(rows * ld) * 4);
    }
  }
  float* of(int thread) { return parts[(size_t)thread]; }
  void finish() {
    if (!direct && out != nullptr) gather(parts, ld, rows, columns, out);
  }
};

template <class P, class X, class Y>
static void linear_forward(const X* x, const float* gain, const float* weight, Y* y, int64_t M,
                           int64_t K, int64_t N, int threads) {
  Frame frame;
  const int64_t ku = units<P>(K), kp = padded(K), np = padded(N);
  float* w = scratch.floats(packed_size(ku, N));
  pack_transposed<P>(weight, K, K, N, w);
  gain = padded_copy(gain, K);
  on_threads(threads, [&](int thread, int all) {
    Frame inner;
    float *row = scratch.floats(kp), *h = scratch.floats(ROWS * kp), *c = scratch.floats(ROWS * np);
    const int64_t h_row = kp / P::per_unit;
    auto [first, last] = share(M, ROWS, thread, all);
    for (int64_t m = first; m < last; m += ROWS) {
      int64_t rows = std::min(ROWS, last - m);
      for (int64_t i = 0; i < rows; i++) {
        read_row(x + (m + i) * K, K, row);
        norm_row(row, gain, K, row);
        to_row<P>(row, K, h + i * h_row);
      }
      product<P>(rows, N, ku, h, h_row, 1, w, N, ku, c, np, false);
      for (int64_t i = 0; i < rows; i++) write_row(c + i * np, N, y + (m + i) * N);
    }
  });
}

template <class P, class X, class Y>
static void linear_backward(const X* x, const float* gain, const float* weight, const Y* dy, X* dx,
                            float* d_gain, float* d_weight, int64_t M, int64_t K, int64_t N,
                            int threads) {
  Frame frame;
  const int64_t nu = units<P>(N), kp = padded(K), np = padded(N);
  float* w = scratch.floats(packed_size(nu, K));
  pack_straight<P>(weight, K, N, K, w);
  gain = padded_copy(gain, K);
  Sums weights(N, K, d_weight, threads), gains(1, K, d_gain, threads);
  on_threads(threads, [&](int thread, int all) {
    Frame inner;
    float *xs = scratch.floats(ROWS * kp), *h = scratch.floats(ROWS * kp);
    float *d = scratch.floats(ROWS * np), *d_rows = scratch.floats(ROWS * np);
    float *dh = scratch.floats(ROWS * kp), scale[ROWS];
    float *d_columns = scratch.floats(CHUNK_UNITS<P> * np);
    float *h_panels = scratch.floats(CHUNK_UNITS<P> * kp);
    const int64_t d_row = np / P::per_unit;
    auto few = [&](int64_t m, int64_t rows, int64_t unit, int64_t all_units) {
      for (int64_t i = 0; i < rows; i++) {
        read_row(x + (m + i) * K, K, xs + i * kp);
        scale[i] = norm_row(xs + i * kp, gain, K, h + i * kp);
        read_row(dy + (m + i) * N, N, d + i * np);
        to_row<P>(d + i * np, N, d_rows + i * d_row);
      }
      pack_rows<P>(h, kp, rows, K, h_panels, unit, all_units);
      pack_columns<P>(d, np, rows, N, d_columns + unit * np, np);
      product<P>(rows, K, nu, d_rows, d_row, 1, w, K, nu, dh, kp, false);
      for (int64_t i = 0; i < rows; i++) {
        norm_row_backward(xs + i * kp, gain, scale[i], K, dh + i * kp, gains.of(thread));
        write_row(dh + i * kp, K, dx + (m + i) * K);
      }
    };
    by_chunks<P>(M, thread, all, few, [&](int64_t all_units) {
      product<P>(N, K, all_units, d_columns, 1, np, h_panels, K, all_units, weights.of(thread), kp,
                 true);
    });
  });
  weights.finish();
  gains.finish();
}

// SwiGLU of one row [g, u]: a = silu(g) * u, padded.
template <class T>
static inline void swiglu_row(const T* gate, const T* up, int64_t F, float* a) {
  int64_t c = 0;
  for (; c + VL <= F; c += VL) {
    vf g = load(gate + c);
    store(a + c, g / (1.0f + exponential(-g)) * load(up + c));
  }
  for (; c < F; c++) {
    float g = to_float(gate[c]);
    a[c] = g / (1 + std::exp(-g)) * to_float(up[c]);
  }
  zero_padding(a, F);
}

// gate_up, where not null, keeps [g, u] for the backward pass, (M, 2 F).
template <class P, class X, class Y>
static void mlp_forward(const X* x, const float* gain, const float* gate_up_weight,
                        const float* down_weight, Y* y, Y* gate_up, int64_t M, int64_t D, int64_t F,
                        int threads) {
  Frame frame;
  const int64_t du = units<P>(D), fu = units<P>(F), dp = padded(D), fp = padded(F);
  const int64_t gp = padded(2 * F);
  float *w1 = scratch.floats(packed_size(du, 2 * F)), *w2 = scratch.floats(packed_size(fu, D));
  pack_transposed<P>(gate_up_weight, D, D, 2 * F, w1);
  pack_transposed<P>(down_weight, F, F, D, w2);
  gain = padded_copy(gain, D);
  on_threads(threads, [&](int thread, int all) {
    Frame inner;
    float *row = scratch.floats(std::max(dp, fp)), *h = scratch.floats(ROWS * dp);
    float *gu = scratch.floats(ROWS * gp), *a = scratch.floats(ROWS * fp);
    float* c = scratch.floats(ROWS * dp);
    const int64_t h_row = dp / P::per_unit, a_row = fp / P::per_unit;
    auto [first, last] = share(M, ROWS, thread, all);
    for (int64_t m = first; m < last; m += ROWS) {
      int64_t rows = std::min(ROWS, last - m);
      for (int64_t i = 0; i < rows; i++) {
        read_row(x + (m + i) * D, D, row);
        norm_row(row, gain, D, row);
        to_row<P>(row, D, h + i * h_row);
      }
      product<P>(rows, 2 * F, du, h, h_row, 1, w1, 2 * F, du, gu, gp, false);
      for (int64_t i = 0; i < rows; i++) {
        if (gate_up != nullptr) write_row(gu + i * gp, 2 * F, gate_up + (m + i) * 2 * F);
        swiglu_row(gu + i * gp, gu + i * gp + F, F, row);
        to_row<P>(row, F, a + i * a_row);
      }
      product<P>(rows, D, fu, a, a_row, 1, w2, D, fu, c, dp, false);
      for (int64_t i = 0; i < rows; i++) write_row(c + i * dp, D, y + (m + i) * D);
    }
  });
}

// Of one row: a = silu(g) u and [dg, du] out of da; the last vector may reach beyond F.
template <class T>
static inline void swiglu_row_backward(const T* gate, const T* up, const float* da, int64_t F,
                                       float* a, float* dg, float* du) {
  int64_t c = 0;
  for (; c + VL <= F; c += VL) {
    vf g = load(gate + c), u = load(up + c), d = load(da + c);
    vf s = 1.0f / (1.0f + exponential(-g)), silu = g * s;
    store(a + c, silu * u);
    store(du + c, d * silu);
    store(dg + c, d * u * (s + silu * (1.0f - s)));
  }
  for (; c < F; c++) {
    float g = to_float(gate[c]), u = to_float(up[c]), d = da[c];
    float s = 1 / (1 + std::exp(-g)), silu = g * s;
    a[c] = silu * u;
    du[c] = d * silu;
    dg[c] = d * u * (s + silu * (1 - s));
  }
  zero_padding(a, F);
}

template <class P, class X, class Y>
static void mlp_backward(const X* x, const float* gain, const float* gate_up_weight,
                         const float* down_weight, const Y* gate_up, const Y* dy, X* dx,
                         float* d_gain, float* d_gate_up_weight, float* d_down_weight, int64_t M,
                         int64_t D, int64_t F, int threads) {
  Frame frame;
  const int64_t du = units<P>(D), gu = units<P>(2 * F), dp = padded(D), fp = padded(F);
  const int64_t gp = padded(2 * F);
  float *w1 = scratch.floats(packed_size(gu, D)), *w2 = scratch.floats(packed_size(du, F));
  pack_straight<P>(gate_up_weight, D, 2 * F, D, w1);
  pack_straight<P>(down_weight, F, D, F, w2);
  gain = padded_copy(gain, D);
  Sums ups(2 * F, D, d_gate_up_weight, threads), downs(D, F, d_down_weight, threads);
  Sums gains(1, D, d_gain, threads);
  on_threads(threads, [&](int thread, int all) {
    Frame inner;
    float *xs = scratch.floats(ROWS * dp), *h = scratch.floats(ROWS * dp);
    float *d = scratch.floats(ROWS * dp), *d_rows = scratch.floats(ROWS * dp);
    float *dh = scratch.floats(ROWS * dp), scale[ROWS];
    float *da = scratch.floats(ROWS * fp), *a = scratch.floats(ROWS * fp);
    float *dgu = scratch.floats(ROWS * gp + VL), *dgu_rows = scratch.floats(ROWS * gp);
    auto chunk_of = [](int64_t columns) { return scratch.floats(CHUNK_UNITS<P> * columns); };
    float *h_panels = chunk_of(dp), *d_columns = chunk_of(dp);
    float *a_panels = chunk_of(fp), *dgu_columns = chunk_of(gp);
    const int64_t d_row = dp / P::per_unit, g_row = gp / P::per_unit;
    auto few = [&](int64_t m, int64_t rows, int64_t unit, int64_t all_units) {
      for (int64_t i = 0; i < rows; i++) {
        read_row(x + (m + i) * D, D, xs + i * dp);
        scale[i] = norm_row(xs + i * dp, gain, D, h + i * dp);
        read_row(dy + (m + i) * D, D, d + i * dp);
        to_row<P>(d + i * dp, D, d_rows + i * d_row);
      }
      pack_rows<P>(h, dp, rows, D, h_panels, unit, all_units);
      pack_columns<P>(d, dp, rows, D, d_columns + unit * dp, dp);
      product<P>(rows, F, du, d_rows, d_row, 1, w2, F, du, da, fp, false);
      for (int64_t i = 0; i < rows; i++) {
        const Y* saved = gate_up + (m + i) * 2 * F;
        float* out = dgu + i * gp;
        swiglu_row_backward(saved, saved + F, da + i * fp, F, a + i * fp, out, out + F);
        zero_padding(out, 2 * F);
        to_row<P>(out, 2 * F, dgu_rows + i * g_row);
      }
      pack_rows<P>(a, fp, rows, F, a_panels, unit, all_units);
      pack_columns<P>(dgu, gp, rows, 2 * F, dgu_columns + unit * gp, gp);
      product<P>(rows, D, gu, dgu_rows, g_row, 1, w1, D, gu, dh, dp, false);
      for (int64_t i = 0; i < rows; i++) {
        norm_row_backward(xs + i * dp, gain, scale[i], D, dh + i * dp, gains.of(thread));
        write_row(dh + i * dp, D, dx + (m + i) * D);
      }
    };
    by_chunks<P>(M, thread, all, few, [&](int64_t all_units) {
      product<P>(2 * F, D, all_units, dgu_columns, 1, gp, h_panels, D, all_units,
                 ups.of(thread), dp, true);
      product<P>(D, F, all_units, d_columns, 1, dp, a_panels, F, all_units, downs.of(thread), fp,
                 true);
    });
  });
  ups.finish();
  downs.finish();
  gains.finish();
}
