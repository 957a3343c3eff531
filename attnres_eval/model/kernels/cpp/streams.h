// Several streams: read through weights that are made of them, mixed and written.
//
// M tokens have N streams of width D, all fp32: H is (M, N, D). A token's weights are K rows of N
// (gates.h): u_r = sum_n w[r, n] H_n for R reads, and, with the rows after those,
// H'_i = sum_n w[R + i, n] H_n + w[R + N, i] out_i.
#pragma once
#include "depth.h"
#include "gates.h"

constexpr int64_t TOKENS = 2 * VL;  // whose streams stay in cache

struct StreamSizes {
  int64_t M, N, D, R;
};

struct RowStatistics {
  float mean, inverse;
};

// Mean (0 where not centred), and one over the root of the variance around it.
static inline RowStatistics statistics(const float* x, int64_t n, bool centred) {
  vf squares = {}, total = {};
  float more_squares = 0, more = 0;
  by_lanes(n, [&](auto zero, int64_t c) {
    typedef decltype(zero) V;
    V v = get<V>(x + c);
    if constexpr (std::is_same<V, float>::value) more_squares += v * v, more += v;
    else squares = squares + v * v, total = total + v;
  });
  float mean = centred ? (sum(total) + more) / (float)n : 0;
  float variance = (sum(squares) + more_squares) / (float)n - mean * mean;
  return {mean, 1 / std::sqrt(variance + EPSILON)};
}

static inline void read_token(const float* h, const float* w, StreamSizes s, float* u) {
  by_number(s.N, [&](auto constant) {
    constexpr int C = decltype(constant)::value;
    const int64_t N = C ? C : s.N;
    for (int64_t r = 0; r < s.R; r++)
      by_lanes(s.D, [&](auto zero, int64_t c) {
        typedef decltype(zero) V;
        V total = {};
        for (int64_t n = 0; n < N; n++) total = total + w[r * N + n] * get<V>(h + n * s.D + c);
        put<V>(u + r * s.D + c, total);
      });
  });
}

// d_x += what the reads give back.
static inline void add_read_backward(const float* d_u, const float* w, StreamSizes s, float* d_x) {
  for (int64_t n = 0; n < s.N; n++)
    by_lanes(s.D, [&](auto zero, int64_t c) {
      typedef decltype(zero) V;
      V total = get<V>(d_x + n * s.D + c);
      for (int64_t r = 0; r < s.R; r++) total = total + w[r * s.N + n] * get<V>(d_u + r * s.D + c);
      put<V>(d_x + n * s.D + c, total);
    });
}

// weight: (O, I), of rows of I = N D / gate.rows. p: (M, gate.rows, O), the normalised projection.
static void read_forward(const float* h, const float* weight, const Gate& gate, float* p, float* w,
                         float* u, StreamSizes s, bool centred, int threads) {
  Frame frame;
  const int64_t I = s.N * s.D / gate.rows, O = gate.O, np = gate.np, K = gate.K;
  float *packed = scratch.floats(packed_size(I, O)), *of_mean = scratch.zeros(np);
  pack_transposed<Fp32>(weight, I, I, O, packed);
  for (int64_t o = 0; o < O && centred; o++)
    for (int64_t c = 0; c < I; c++) of_mean[o] += weight[o * I + c];
  on_threads(threads, [&](int thread, int all) {
    Frame inner;
    float* block = scratch.floats(TOKENS * gate.rows * np);
    auto [first, last] = share(s.M, TOKENS, thread, all);
    for (int64_t m = first; m < last; m += TOKENS) {
      const int64_t tokens = std::min(TOKENS, last - m), rows = tokens * gate.rows;
      const float* x = h + m * s.N * s.D;
      product<Fp32>(rows, O, I, x, I, 1, packed, O, I, block, np, false);
      for (int64_t i = 0; i < rows; i++) {
        fetch(x + (TOKENS * gate.rows + i) * I, I);
        RowStatistics of = statistics(x + i * I, I, centred);
        float* row = block + i * np;
        for (int64_t c = 0; c < np; c += VL)
          store(row + c, (load(row + c) - of.mean * load(of_mean + c)) * of.inverse);
        write_row(row, O, p + (m * gate.rows + i) * O);
      }
      gate.forward(tokens, block, w + m * K * s.N);
      for (int64_t t = 0; t < tokens; t++)
        read_token(x + t * s.N * s.D, w + (m + t) * K * s.N, s, u + (m + t) * s.R * s.D);
    }
  });
}

// d_w and d_h, where not null, are the gradients of the weights (the reads' own part excepted)
// and of the streams by what comes after; d_u may be null too. d_x is the whole gradient of H.
static void read_backward(const float* h, const float* weight, const Gate& gate, const float* p,
                          const float* w, const float* d_u, const float* d_w, const float* d_h,
                          float* d_x, float* d_weight, float* d_scale, float* d_offset,
                          StreamSizes s, bool centred, int threads) {
  Frame frame;
  const int64_t token = s.N * s.D, I = token / gate.rows, O = gate.O, np = gate.np;
  const int64_t ip = padded(I), per_token = gate.K * s.N, gates = (1 + gate.offsets) * np;
  float *packed = scratch.floats(packed_size(O, I)), *of_mean = scratch.zeros(np);
  pack_straight<Fp32>(weight, I, O, I, packed);
  for (int64_t o = 0; o < O && centred; o++)
    for (int64_t c = 0; c < I; c++) of_mean[o] += weight[o * I + c];
  std::vector<float*> weights((size_t)threads), means((size_t)threads), scales((size_t)threads);
  std::vector<float*> offsets((size_t)threads);
  const int64_t size = O * ip + np + gates;
  float* sums = scratch.zeros(threads * size);
  for (int t = 0; t < threads; t++) {
    weights[(size_t)t] = sums + t * size;
    means[(size_t)t] = weights[(size_t)t] + O * ip;
    scales[(size_t)t] = means[(size_t)t] + np;
    offsets[(size_t)t] = scales[(size_t)t] + np;
  }
  on_threads(threads, [&](int thread, int all) {
    Frame inner;
    const int64_t most = TOKENS * gate.rows;
    float *projected = scratch.floats(most * np), *change = scratch.floats(most * np);
    float *d_weights = scratch.floats(TOKENS * per_token), *d = scratch.floats(most * ip);
    float *rows_in = scratch.floats(most * ip), *panels = scratch.floats(most * ip);
    float *slope = scratch.floats(most), *shift = scratch.floats(most);
    float* d_means = means[(size_t)thread];
    auto [first, last] = share(s.M, TOKENS, thread, all);
    for (int64_t m = first; m < last; m += TOKENS) {
      const int64_t tokens = std::min(TOKENS, last - m), rows = tokens * gate.rows;
      const float* x = h + m * token;
      if (d_w != nullptr) memcpy(d_weights, d_w + m * per_token, (size_t)(tokens * per_token) * 4);
      else memset(d_weights, 0, (size_t)(tokens * per_token) * 4);
      for (int64_t t = 0; t < tokens; t++)
        for (int64_t r = 0; r < s.R; r++)
          for (int64_t n = 0; n < s.N && d_u != nullptr; n++)
            d_weights[t * per_token + r * s.N + n] +=
                dot(d_u + ((m + t) * s.R + r) * s.D, x + t * token + n * s.D, s.D);
      for (int64_t i = 0; i < rows; i++)
        read_row(p + (m * gate.rows + i) * O, O, projected + i * np);
      const float* of_tokens = w + m * per_token;
      gate.backward(tokens, projected, of_tokens, d_weights, change, scales[(size_t)thread],
                    offsets[(size_t)thread]);

      for (int64_t i = 0; i < rows; i++) {
        fetch(x + (most + i) * I, I);
        RowStatistics of = statistics(x + i * I, I, centred);
        float *row = change + i * np, along = 0, of_sums = 0;
        for (int64_t o = 0; o < O; o++) {
          along += row[o] * projected[i * np + o];
          row[o] *= of.inverse;
          of_sums += row[o] * of_mean[o];
          d_means[o] += row[o] * of.mean;
        }
        slope[i] = along * of.inverse * of.inverse / (float)I;
        shift[i] = slope[i] * of.mean - (centred ? of_sums / (float)I : 0);
      }
      product<Fp32>(rows, I, O, change, np, 1, packed, I, O, d, ip, false);
      const float* whole = x;
      if (I % VL != 0) {
        for (int64_t i = 0; i < rows; i++) read_row(x + i * I, I, rows_in + i * ip);
        whole = rows_in;
      }
      pack_rows<Fp32>(whole, ip, rows, I, panels, 0, rows);
      product<Fp32>(O, I, rows, change, 1, np, panels, I, rows, weights[(size_t)thread], ip, true);
      for (int64_t t = 0; t < tokens; t++) {
        for (int64_t i = t * gate.rows; i < (t + 1) * gate.rows; i++)
          by_lanes(I, [&](auto zero, int64_t c) {
            typedef decltype(zero) V;
            V total = get<V>(d + i * ip + c) - slope[i] * get<V>(x + i * I + c) + shift[i];
            if (d_h != nullptr) total = total + get<V>(d_h + m * token + i * I + c);
            put<V>(d_x + m * token + i * I + c, total);
          });
        if (d_u != nullptr)
          add_read_backward(d_u + (m + t) * s.R * s.D, of_tokens + t * per_token, s,
                            d_x + (m + t) * token);
      }
    }
  });
  gather(weights, ip, O, I, d_weight);
  for (const float* of_thread : means)
    for (int64_t o = 0; o < O && centred; o++)
      for (int64_t c = 0; c < I; c++) d_weight[o * I + c] -= of_thread[o];
  gather(scales, np, 1, O, d_scale);
  gather(offsets, np, gate.offsets, O, d_offset);
}

// out has a row for each stream, or one for all (own: 1 or 0).
template <class Y>
static void write_forward(const float* h, const float* w, const Y* out, float* written,
                          StreamSizes s, int64_t K, int64_t own, int threads) {
  const int64_t token = s.N * s.D, step = own * s.D;
  on_threads(threads, [&](int thread, int all) {
    auto [first, last] = share(s.M, TOKENS, thread, all);
    by_number(s.N, [&](auto constant) {
      constexpr int C = decltype(constant)::value;
      const int64_t N = C ? C : s.N;
      for (int64_t m = first; m < last; m++) {
        const float *x = h + m * token, *mixing = w + (m * K + s.R) * N, *write = mixing + N * N;
        const Y* o = out + m * (own ? token : s.D);
        float* y = written + m * token;
        by_lanes(s.D, [&](auto zero, int64_t c) {
          typedef decltype(zero) V;
          V rows[C ? C : 1];
          for (int n = 0; n < C; n++) rows[n] = get<V>(x + n * s.D + c);
          for (int64_t i = 0; i < N; i++) {
            V total = write[i] * get<V>(o + i * step + c);
            for (int64_t n = 0; n < N; n++)
              total = total + mixing[i * N + n] * (C ? rows[C ? n : 0] : get<V>(x + n * s.D + c));
            put<V>(y + i * s.D + c, total);
          }
        });
      }
    });
  });
}

// One token's. d_h, d_out: what the streams and the output get; d_w: (N + 1, N), of mixing and write.
template <int C, class Y>
static inline void write_token_backward(const float* x, const float* w, const Y* o, const float* d,
                                        float* d_h, float* d_w, Y* d_out, StreamSizes s,
                                        int64_t step) {
  const int64_t N = C ? C : s.N;
  const float* write = w + N * N;
  constexpr int sums = C ? C * C + C : 1;
  vf total[sums] = {};
  float more[sums] = {};
  by_lanes(s.D, [&](auto zero, int64_t c) {
    typedef decltype(zero) V;
    V change[C ? C : 1], shared = {};
    for (int i = 0; i < C; i++) change[i] = get<V>(d + i * s.D + c);
    auto of = [&](int64_t i) { return C ? change[C ? i : 0] : get<V>(d + i * s.D + c); };
    auto add = [&](int at, V value) {
      if constexpr (std::is_same<V, float>::value) more[at] += value;
      else total[at] = total[at] + value;
    };
#pragma GCC unroll 4
    for (int64_t n = 0; n < N; n++) {
      V row = get<V>(x + n * s.D + c), back = {};
#pragma GCC unroll 4
      for (int64_t i = 0; i < N; i++) {
        back = back + w[i * N + n] * of(i);
        if (C) add((int)(i * N + n), of(i) * row);
      }
      put<V>(d_h + n * s.D + c, back);
    }
#pragma GCC unroll 4
    for (int64_t i = 0; i < N; i++) {
      if (C) add((int)(N * N + i), of(i) * get<V>(o + i * step + c));
      if (step != 0) put<V>(d_out + i * step + c, write[i] * of(i));
      else shared = shared + write[i] * of(i);
    }
    if (step == 0) put<V>(d_out + c, shared);
  });
  if (C) {
    sums_of(total, sums, d_w);
    for (int k = 0; k < sums; k++) d_w[k] += more[k];
    return;
  }
  for (int64_t i = 0; i < N; i++) {
    for (int64_t n = 0; n < N; n++) d_w[i * N + n] = dot(d + i * s.D, x + n * s.D, s.D);
    d_w[N * N + i] = dot(d + i * s.D, o + i * step, s.D);
  }
}

// d_w: (M, K, N), zero where it is of the reads.
template <class Y>
static void write_backward(const float* h, const float* w, const Y* out, const float* d_written,
                           float* d_h, float* d_w, Y* d_out, StreamSizes s, int64_t K, int64_t own,
                           int threads) {
  const int64_t token = s.N * s.D, wide = own ? token : s.D;
  on_threads(threads, [&](int thread, int all) {
    auto [first, last] = share(s.M, TOKENS, thread, all);
    by_number(s.N, [&](auto constant) {
      constexpr int C = decltype(constant)::value;
      for (int64_t m = first; m < last; m++) {
        const int64_t at = m * K * s.N, mixing = at + s.R * s.N;
        memset(d_w + at, 0, (size_t)(s.R * s.N) * 4);
        fetch(h + (m + AHEAD) * token, token);
        fetch(d_written + (m + AHEAD) * token, token);
        write_token_backward<C>(h + m * token, w + mixing, out + m * wide, d_written + m * token,
                                d_h + m * token, d_w + mixing, d_out + m * wide, s, own * s.D);
      }
    });
  });
}
