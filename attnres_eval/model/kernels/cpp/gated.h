// The Gated Residual: streams normalised, gated element by element and averaged; written by scalars.
//
// M tokens have N streams of width D, I = N D, all fp32. With h = norm(H) * gain and
// z = [W_down; W_write] vec(h) / N, of r + N outputs, u = mean_n sigmoid(W_up silu(z))_n * h_n and
// the write weights are s = 2 sigmoid(z), of the last N.
#pragma once
#include "depth.h"
#include "lanes.h"

struct GatedSizes {
  int64_t M, N, D, rank, outputs;  // outputs: r + N, or r where nothing is written
};

static inline vf sigmoid(vf x) { return 1.0f / (1.0f + exponential(-x)); }
static inline float sigmoid(float x) { return 1 / (1 + std::exp(-x)); }

// One token's h (padded), and one over the RMS of each stream.
static inline void gated_norm(const float* x, const float* gain, GatedSizes s, float* h,
                              float* inverse) {
  for (int64_t n = 0; n < s.N; n++) {
    const int64_t at = n * s.D;
    float scale = 1 / std::sqrt(dot(x + at, x + at, s.D) / (float)s.D + EPSILON);
    by_lanes(s.D, [&](auto zero, int64_t c) {
      typedef decltype(zero) V;
      put<V>(h + at + c, get<V>(x + at + c) * get<V>(gain + at + c) * scale);
    });
    inverse[n] = scale;
  }
  zero_padding(h, s.N * s.D);
}

// weights: [W_down; W_write] (outputs, I). z: (M, outputs); write: (M, N) or null; u: (M, D).
template <class P>
static void gated_forward(const float* x, const float* gain, const float* weights, const float* up,
                          float* z, float* write, float* u, GatedSizes s, int threads) {
  Frame frame;
  const int64_t I = s.N * s.D, iu = units<P>(I), ru = units<P>(s.rank), ip = padded(I);
  const int64_t op = padded(s.outputs), rp = padded(s.rank);
  const float part = 1 / (float)s.N;
  float* w1 = scratch.floats(packed_size(iu, s.outputs));
  float* w2 = scratch.floats(packed_size(ru, I));
  pack_transposed<P>(weights, I, I, s.outputs, w1);
  pack_transposed<P>(up, s.rank, s.rank, I, w2);
  on_threads(threads, [&](int thread, int all) {
    Frame inner;
    float *h = scratch.floats(ROWS * ip), *rows_in = scratch.floats(ROWS * ip);
    float *logits = scratch.floats(ROWS * op), *hidden = scratch.floats(ROWS * rp);
    float *a = scratch.floats(rp), *gates = scratch.floats(ROWS * ip);
    float* inverse = scratch.floats(s.N);
    const int64_t h_row = ip / P::per_unit, a_row = rp / P::per_unit;
    auto [first, last] = share(s.M, ROWS, thread, all);
    for (int64_t m = first; m < last; m += ROWS) {
      const int64_t rows = std::min(ROWS, last - m);
      for (int64_t i = 0; i < rows; i++) {
        gated_norm(x + (m + i) * I, gain, s, h + i * ip, inverse);
        to_row<P>(h + i * ip, I, rows_in + i * h_row);
      }
      product<P>(rows, s.outputs, iu, rows_in, h_row, 1, w1, s.outputs, iu, logits, op, false);
      for (int64_t i = 0; i < rows; i++) {
        float* row = logits + i * op;
        for (int64_t c = 0; c < op; c += VL) store(row + c, load(row + c) * part);
        write_row(row, s.outputs, z + (m + i) * s.outputs);
        for (int64_t c = 0; c < rp; c += VL) store(a + c, load(row + c) * sigmoid(load(row + c)));
        zero_padding(a, s.rank);
        to_row<P>(a, s.rank, hidden + i * a_row);
        for (int64_t n = 0; n < s.N && write != nullptr; n++)
          write[(m + i) * s.N + n] = 2 * sigmoid(row[s.rank + n]);
      }
      product<P>(rows, I, ru, hidden, a_row, 1, w2, I, ru, gates, ip, false);
      for (int64_t i = 0; i < rows; i++)
        by_lanes(s.D, [&](auto zero, int64_t c) {
          typedef decltype(zero) V;
          V total = {};
          for (int64_t n = 0; n < s.N; n++) {
            const int64_t at = i * ip + n * s.D + c;
            total = total + sigmoid(get<V>(gates + at)) * get<V>(h + at);
          }
          put<V>(u + (m + i) * s.D + c, total * part);
        });
    }
  });
}

// d_write and d_h (what the streams get by what comes after) may be null. d_x: all that H gets.
template <class P>
static void gated_backward(const float* x, const float* gain, const float* weights, const float* up,
                           const float* z, const float* d_u, const float* d_write,
                           const float* d_h, float* d_x, float* d_gain, float* d_weights,
                           float* d_up, GatedSizes s, int threads) {
  Frame frame;
  const int64_t I = s.N * s.D, iu = units<P>(I), ru = units<P>(s.rank), ip = padded(I);
  const int64_t O = s.outputs, ou = units<P>(O), op = padded(O), rp = padded(s.rank);
  const float part = 1 / (float)s.N;
  float *w1 = scratch.floats(packed_size(ou, I)), *w2 = scratch.floats(packed_size(ru, I));
  float* w2_back = scratch.floats(packed_size(iu, s.rank));
  pack_straight<P>(weights, I, O, I, w1);
  pack_transposed<P>(up, s.rank, s.rank, I, w2);
  pack_straight<P>(up, s.rank, I, s.rank, w2_back);
  Sums downs(O, I, d_weights, threads), ups(I, s.rank, d_up, threads), gains(1, I, d_gain, threads);
  on_threads(threads, [&](int thread, int all) {
    Frame inner;
    float *h = scratch.floats(ROWS * ip), *gates = scratch.floats(ROWS * ip);
    float *d_hs = scratch.floats(ROWS * ip), *inverse = scratch.floats(ROWS * s.N);
    float *rows_of = scratch.floats(ROWS * ip), *columns = scratch.floats(ROWS * std::max(ip, op));
    float *panels = scratch.floats(ROWS * ip), *a = scratch.floats(ROWS * rp);
    float *d_a = scratch.floats(ROWS * rp), *d_z = scratch.floats(ROWS * op);
    float *logits = scratch.floats(op), *of_gain = gains.of(thread);
    auto [first, last] = share(s.M, ROWS, thread, all);
    for (int64_t m = first; m < last; m += ROWS) {
      const int64_t rows = std::min(ROWS, last - m), all_units = units<P>(rows);
      for (int64_t i = 0; i < rows; i++) {
        gated_norm(x + (m + i) * I, gain, s, h + i * ip, inverse + i * s.N);
        read_row(z + (m + i) * O, s.rank, a + i * rp);
        for (int64_t c = 0; c < rp; c += VL) {
          vf v = load(a + i * rp + c);
          store(a + i * rp + c, v * sigmoid(v));
        }
        to_row<P>(a + i * rp, s.rank, rows_of + i * (rp / P::per_unit));
      }
      product<P>(rows, I, ru, rows_of, rp / P::per_unit, 1, w2, I, ru, gates, ip, false);
      // The gates become their logits' gradient.
      for (int64_t i = 0; i < rows; i++) {
        by_lanes(s.D, [&](auto zero, int64_t c) {
          typedef decltype(zero) V;
          V d = get<V>(d_u + (m + i) * s.D + c) * part;
          for (int64_t n = 0; n < s.N; n++) {
            const int64_t at = i * ip + n * s.D + c;
            V g = sigmoid(get<V>(gates + at));
            put<V>(d_hs + at, d * g);
            put<V>(gates + at, d * get<V>(h + at) * g * (1.0f - g));
          }
        });
        zero_padding(gates + i * ip, I);
        zero_padding(d_hs + i * ip, I);
        to_row<P>(gates + i * ip, I, rows_of + i * (ip / P::per_unit));
      }
      pack_columns<P>(gates, ip, rows, I, columns, ip);
      pack_rows<P>(a, rp, rows, s.rank, panels, 0, all_units);
      product<P>(I, s.rank, all_units, columns, 1, ip, panels, s.rank, all_units,
                 ups.of(thread), rp, true);
      product<P>(rows, s.rank, iu, rows_of, ip / P::per_unit, 1, w2_back, s.rank, iu, d_a, rp,
                 false);
      for (int64_t i = 0; i < rows; i++) {
        float* row = d_z + i * op;
        read_row(z + (m + i) * O, O, logits);
        zero_padding(row, O);
        for (int64_t k = 0; k < s.rank; k++) row[k] = d_a[i * rp + k];
        for (int64_t n = 0; n < O - s.rank; n++)
          row[s.rank + n] = d_write == nullptr ? 0 : d_write[(m + i) * s.N + n];
        for (int64_t k = 0; k < O; k++) {
          float g = sigmoid(logits[k]);
          row[k] *= part * (k < s.rank ? g + logits[k] * g * (1 - g) : 2 * g * (1 - g));
        }
        to_row<P>(row, O, rows_of + i * (op / P::per_unit));
      }
      pack_columns<P>(d_z, op, rows, O, columns, op);
      pack_rows<P>(h, ip, rows, I, panels, 0, all_units);
      product<P>(O, I, all_units, columns, 1, op, panels, I, all_units, downs.of(thread), ip,
                 true);
      product<P>(rows, I, ou, rows_of, op / P::per_unit, 1, w1, I, ou, d_hs, ip, true);
      for (int64_t i = 0; i < rows; i++)
        for (int64_t n = 0; n < s.N; n++) {
          const int64_t at = n * s.D, token = (m + i) * I + at;
          const float *d = d_hs + i * ip + at, *row = x + token, scale = inverse[i * s.N + n];
          vf total = {};
          float more = 0;
          by_lanes(s.D, [&](auto zero, int64_t c) {
            typedef decltype(zero) V;
            V along = get<V>(d + c) * get<V>(row + c) * scale;
            put<V>(of_gain + at + c, get<V>(of_gain + at + c) + along);
            if constexpr (std::is_same<V, float>::value) more += along * gain[at + c];
            else total = total + along * load(gain + at + c);
          });
          const float mean = (sum(total) + more) / (float)s.D;
          by_lanes(s.D, [&](auto zero, int64_t c) {
            typedef decltype(zero) V;
            V back = (get<V>(d + c) * get<V>(gain + at + c) - get<V>(row + c) * scale * mean) * scale;
            if (d_h != nullptr) back = back + get<V>(d_h + token + c);
            put<V>(d_x + token + c, back);
          });
        }
    }
  });
  downs.finish();
  ups.finish();
  gains.finish();
}

// H_n + s_n out for all streams; write: (M, N), out: (M, D).
template <class Y>
static void add_forward(const float* h, const float* write, const Y* out, float* written, int64_t M,
                        int64_t N, int64_t D, int threads) {
  on_threads(threads, [&](int thread, int all) {
    auto [first, last] = share(M, VL, thread, all);
    for (int64_t m = first; m < last; m++)
      by_lanes(D, [&](auto zero, int64_t c) {
        typedef decltype(zero) V;
        V o = get<V>(out + m * D + c);
        for (int64_t n = 0; n < N; n++) {
          const int64_t at = (m * N + n) * D + c;
          put<V>(written + at, get<V>(h + at) + write[m * N + n] * o);
        }
      });
  });
}

// Of what is added; the streams' gradient is that of the sum.
template <class Y>
static void add_backward(const float* write, const Y* out, const float* d_written, float* d_write,
                         Y* d_out, int64_t M, int64_t N, int64_t D, int threads) {
  on_threads(threads, [&](int thread, int all) {
    auto [first, last] = share(M, VL, thread, all);
    for (int64_t m = first; m < last; m++) {
      const float* d = d_written + m * N * D;
      for (int64_t n = 0; n < N; n++) d_write[m * N + n] = dot(d + n * D, out + m * D, D);
      by_lanes(D, [&](auto zero, int64_t c) {
        typedef decltype(zero) V;
        V total = {};
        for (int64_t n = 0; n < N; n++) total = total + write[m * N + n] * get<V>(d + n * D + c);
        put<V>(d_out + m * D + c, total);
      });
    }
  });
}
