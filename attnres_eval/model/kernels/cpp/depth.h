// Attention over depth (arXiv:2603.15031): sources scored once for all their readers, mixed for one.
//
// M tokens of width D, sources of type X, what readers get and send back of type Y. The first
// sources may be fp32 where the rest is bf16: the embedding is. A source's scores are s_r = (q_r . v) / rms(v) for R readers; a reader's
// weights are their softmax over its S sources, and it gets sum_s a_s v_s.
#pragma once
#include "linear.h"
#include <type_traits>

constexpr int WIDE = 8;    // vectors of a row that are summed in registers
constexpr int AHEAD = 4;   // tokens that are fetched ahead: the processor itself follows few streams
constexpr int DIRECT = 4;  // readers for which loops beat a product of matrices

// Asks for a row of n that will be read soon; it may lie beyond the end.
template <class X>
static inline void fetch(const X* row, int64_t n) {
  const char* bytes = (const char*)row;
  for (int64_t b = 0; b < n * (int64_t)sizeof(X); b += 64) __builtin_prefetch(bytes + b);
}

template <class F>
static inline void by_columns(int64_t D, F f) {
  int64_t c = 0;
  for (; c + WIDE * VL <= D; c += WIDE * VL) f(std::integral_constant<int, WIDE>(), c);
  for (; c + VL <= D; c += VL) f(std::integral_constant<int, 1>(), c);
}

template <class A, class B>
static inline float dot(const A* a, const B* b, int64_t n) {
  vf total[2] = {{}, {}};
  int64_t c = 0;
  for (; c + 2 * VL <= n; c += 2 * VL) {
    total[0] = total[0] + load(a + c) * load(b + c);
    total[1] = total[1] + load(a + c + VL) * load(b + c + VL);
  }
  for (; c + VL <= n; c += VL) total[0] = total[0] + load(a + c) * load(b + c);
  if (c < n) total[1] = total[1] + load_part(a + c, n - c) * load_part(b + c, n - c);
  return sum(total[0] + total[1]);
}

template <>
inline float dot(const bf16* a, const bf16* b, int64_t n) {
  vf total[2] = {{}, {}};
  int64_t c = 0;
#if defined(__AVX512BF16__)
  auto pairs = [](const bf16* p) {
    vf x;
    memcpy(&x, p, sizeof x);
    return x;
  };
  for (; c + 4 * VL <= n; c += 4 * VL) {
    total[0] = Bf16::add(total[0], pairs(a + c), pairs(b + c));
    total[1] = Bf16::add(total[1], pairs(a + c + 2 * VL), pairs(b + c + 2 * VL));
  }
  for (; c + 2 * VL <= n; c += 2 * VL) total[0] = Bf16::add(total[0], pairs(a + c), pairs(b + c));
#endif
  for (; c + VL <= n; c += VL) total[0] = total[0] + load(a + c) * load(b + c);
  if (c < n) total[1] = total[1] + load_part(a + c, n - c) * load_part(b + c, n - c);
  return sum(total[0] + total[1]);
}

// The queries of R readers times the gains of their key norms, if any, and a scale: (R, D), with
// rows padded by zeros.
struct Queries {
  const float* const* rows;
  const float* const* gains;
  float scale;
  float* folded(int64_t R, int64_t D) const {
    const int64_t dp = padded(D);
    float* out = scratch.floats(R * dp);
    for (int64_t r = 0; r < R; r++) {
      for (int64_t c = 0; c < D; c++)
        out[r * dp + c] = rows[r][c] * (gains == nullptr ? 1 : gains[r][c]) * scale;
      zero_padding(out + r * dp, D);
    }
    return out;
  }
  // Gradients of rows and gains out of those of the folded rows.
  void gradients(const float* d_folded, int64_t R, int64_t D, float* const* d_rows,
                 float* const* d_gains) const {
    for (int64_t r = 0; r < R; r++)
      for (int64_t c = 0; c < D; c++) {
        float d = d_folded[r * D + c] * scale;
        d_rows[r][c] = d * (gains == nullptr ? 1 : gains[r][c]);
        if (gains != nullptr) d_gains[r][c] = d * rows[r][c];
      }
  }
};

// scores: (R, M). inverse_rms: (M), all ones without a key norm. sum, where not null: v becomes
// v + addend and is kept there.
template <class X>
static void source_forward(const X* v, const X* addend, Queries queries, X* sums, float* inverse,
                           float* scores, int64_t M, int64_t D, int64_t R, int threads) {
  Frame frame;
  const int64_t dp = padded(D), rp = padded(R);
  const bool normed = queries.gains != nullptr;
  float *q = scratch.floats(packed_size(D, R)), *folded = queries.folded(R, D);
  if (R > DIRECT) pack_transposed<Fp32>(folded, dp, D, R, q);
  on_threads(threads, [&](int thread, int all) {
    Frame inner;
    float *rows_in = scratch.floats(ROWS * dp), *c = scratch.floats(ROWS * rp);
    float* other = scratch.floats(dp);
    auto [first, last] = share(M, ROWS, thread, all);
    for (int64_t m = first; m < last; m += ROWS) {
      int64_t rows = std::min(ROWS, last - m);
      for (int64_t i = 0; i < rows; i++) {
        float* row = rows_in + i * dp;
        read_row(v + (m + i) * D, D, row);
        if (addend != nullptr) {
          read_row(addend + (m + i) * D, D, other);
          for (int64_t k = 0; k < dp; k += VL) store(row + k, load(row + k) + load(other + k));
          write_row(row, D, sums + (m + i) * D);
          // What readers get is the rounded sum.
          read_row(sums + (m + i) * D, D, row);
        }
        inverse[m + i] = normed ? inverse_rms(row, D) : 1;
        for (int64_t r = 0; R <= DIRECT && r < R; r++) c[i * rp + r] = dot(row, folded + r * dp, dp);
      }
      if (R > DIRECT) product<Fp32>(rows, R, D, rows_in, dp, 1, q, R, D, c, rp, false);
      for (int64_t r = 0; r < R; r++)
        for (int64_t i = 0; i < rows; i++)
          scores[r * M + m + i] = c[i * rp + r] * inverse[m + i];
    }
  });
}

// Adds weight times a row's entries to sums: in their order, or, with AVX-512 and bf16, taken apart
// by twos of vectors, even entries and odd ones, which spares a shuffle each; `in_order` undoes it.
template <class X, int N>
static inline void add_weighted(vf* totals, float weight, const X* v) {
#if defined(__AVX512F__)
  if constexpr (std::is_same<X, bf16>::value && N > 1) {
    const vi high = vi{} + (int32_t)0xffff0000;
#pragma GCC unroll 4
    for (int j = 0; j < N; j += 2) {
      vi two;
      memcpy(&two, v + j * VL, sizeof two);
      totals[j] = totals[j] + weight * (vf)(two << 16);
      totals[j + 1] = totals[j + 1] + weight * (vf)(two & high);
    }
    return;
  }
#endif
#pragma GCC unroll 8
  for (int j = 0; j < N; j++) totals[j] = totals[j] + weight * load(v + j * VL);
}

template <class X, int N>
static inline void in_order(vf* totals) {
#if defined(__AVX512F__)
  if constexpr (std::is_same<X, bf16>::value && N > 1) {
    const __m512i low = _mm512_set_epi32(23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    const __m512i high = _mm512_add_epi32(low, _mm512_set1_epi32(8));
#pragma GCC unroll 4
    for (int j = 0; j < N; j += 2) {
      __m512 even = (__m512)totals[j], odd = (__m512)totals[j + 1];
      totals[j] = (vf)_mm512_permutex2var_ps(even, low, odd);
      totals[j + 1] = (vf)_mm512_permutex2var_ps(even, high, odd);
    }
  }
#endif
}

// One token's mix in fp32, of S weights a step apart; `at` is where its rows begin.
template <class Y>
static inline void mix_row(const void* const* values, const float* weights, int64_t step, int64_t S,
                           int64_t wide, int64_t at, int64_t D, float* row) {
  by_columns(D, [&](auto vectors, int64_t c) {
    constexpr int N = decltype(vectors)::value;
    vf sums[N] = {};
    for (int64_t s = wide; s < S; s++)
      add_weighted<Y, N>(sums, weights[s * step], (const Y*)values[s] + at + c);
    in_order<Y, N>(sums);
    for (int64_t s = 0; s < wide; s++)
      add_weighted<float, N>(sums, weights[s * step], (const float*)values[s] + at + c);
#pragma GCC unroll 8
    for (int j = 0; j < N; j++) store(row + c + j * VL, sums[j]);
  });
  const int64_t c = D / VL * VL;
  if (c == D) return;
  vf sums = {};
  for (int64_t s = 0; s < wide; s++)
    sums = sums + weights[s * step] * load_part((const float*)values[s] + at + c, D - c);
  for (int64_t s = wide; s < S; s++)
    sums = sums + weights[s * step] * load_part((const Y*)values[s] + at + c, D - c);
  store(row + c, sums);
}

// values: S pointers to (M, D), of which the first `wide` are fp32; scores: S pointers to (M).
// weights: (S, M); out: (M, D).
template <class Y>
static void mix_forward(const void* const* values, const float* const* scores, float* weights,
                        Y* out, int64_t S, int64_t wide, int64_t M, int64_t D, int threads) {
  on_threads(threads, [&](int thread, int all) {
    Frame inner;
    float *a = scratch.floats(S * VL), *row = scratch.floats(padded(D)), total[VL];
    auto [first, last] = share(M, VL, thread, all);
    for (int64_t m = first; m < last; m += VL) {
      int64_t rows = std::min<int64_t>(VL, last - m);
      for (int64_t s = 0; s < S; s++)
        for (int64_t i = 0; i < VL; i++) a[s * VL + i] = i < rows ? scores[s][m + i] : 0;
      vf most = load(a), sum_of = {};
      for (int64_t s = 1; s < S; s++) most = larger(load(a + s * VL), most);
      for (int64_t s = 0; s < S; s++) {
        vf e = exponential(load(a + s * VL) - most);
        store(a + s * VL, e);
        sum_of = sum_of + e;
      }
      store(total, 1.0f / sum_of);
      for (int64_t s = 0; s < S; s++) {
        store(a + s * VL, load(a + s * VL) * load(total));
        for (int64_t i = 0; i < rows; i++) weights[s * M + m + i] = a[s * VL + i];
      }
      for (int64_t i = 0; i < rows; i++) {
        for (int64_t s = wide; s < S; s++) fetch((const Y*)values[s] + (m + i + AHEAD) * D, D);
        mix_row<Y>(values, a + i, VL, S, wide, (m + i) * D, D, row);
        write_row(row, D, out + (m + i) * D);
      }
    }
  });
}

// c[m] = d_out[m] . out[m], the mean of the weights' derivatives under the weights.
template <class Y>
static void mix_backward(const Y* d_out, const Y* out, float* c, int64_t M, int64_t D,
                         int threads) {
  on_threads(threads, [&](int thread, int all) {
    auto [first, last] = share(M, VL, thread, all);
    for (int64_t m = first; m < last; m++) c[m] = dot(d_out + m * D, out + m * D, D);
  });
}

// A source's gradient, gathered from its readers all at once, so that it is written only once.
//
// n readers have a gradient: d_out, weights and means are their (M, D), (M) and (M); the queries
// are theirs, and so are the gradients of queries and gains. d_sum, where not null, is what else
// the source's gradient has.
template <class X, class Y>
static void source_backward(const X* v, const float* inverse, Queries queries,
                            const Y* const* d_out, const float* const* weights,
                            const float* const* means, const X* d_sum, X* d_v,
                            float* const* d_queries, float* const* d_gains, int64_t n, int64_t M,
                            int64_t D, int threads) {
  Frame frame;
  const int64_t dp = padded(D), np = padded(n);
  const bool normed = queries.gains != nullptr;
  float *q = scratch.floats(packed_size(n, D)), *d_folded = scratch.floats(n * D);
  pack_straight<Fp32>(queries.folded(n, D), dp, n, D, q);
  std::vector<float*> parts((size_t)threads);
  float* all_parts = scratch.zeros(threads * n * dp);
  for (int t = 0; t < threads; t++) parts[(size_t)t] = all_parts + t * n * dp;
  on_threads(threads, [&](int thread, int all) {
    Frame inner;
    float *rows_in = scratch.floats(ROWS * dp), *panels = scratch.floats(ROWS * dp);
    float *d = scratch.floats(ROWS * dp), *u = scratch.floats(ROWS * dp);
    float *c = scratch.floats(ROWS * np), *a = scratch.floats(np);
    auto [first, last] = share(M, ROWS, thread, all);
    for (int64_t m = first; m < last; m += ROWS) {
      int64_t rows = std::min(ROWS, last - m);
      for (int64_t i = 0; i < rows; i++) {
        const int64_t at = (m + i) * D;
        fetch(v + at + 2 * AHEAD * D, D);
        if (d_sum != nullptr) fetch(d_sum + at + 2 * AHEAD * D, D);
        read_row(v + at, D, rows_in + i * dp);
        for (int64_t r = 0; r < n; r++) {
          fetch(d_out[r] + at + AHEAD * D, D);
          float change = dot(d_out[r] + at, v + at, D) - means[r][m + i];
          a[r] = weights[r][m + i];
          c[i * np + r] = a[r] * change * inverse[m + i];
        }
        float* sums = d + i * dp;
        if (d_sum != nullptr) read_row(d_sum + at, D, sums);
        else memset(sums, 0, (size_t)dp * 4);
        by_columns(D, [&](auto vectors, int64_t k) {
          constexpr int N = decltype(vectors)::value;
          vf s[N] = {};
          for (int64_t r = 0; r < n; r++) add_weighted<Y, N>(s, a[r], d_out[r] + at + k);
          in_order<Y, N>(s);
#pragma GCC unroll 8
          for (int j = 0; j < N; j++) store(sums + k + j * VL, load(sums + k + j * VL) + s[j]);
        });
        if (const int64_t k = D / VL * VL; k < D) {
          vf s = load(sums + k);
          for (int64_t r = 0; r < n; r++) s = s + a[r] * load_part(d_out[r] + at + k, D - k);
          store(sums + k, s);
        }
      }
      product<Fp32>(rows, D, n, c, np, 1, q, D, n, u, dp, false);
      pack_rows<Fp32>(rows_in, dp, rows, D, panels, 0, rows);
      product<Fp32>(n, D, rows, c, 1, np, panels, D, rows, parts[(size_t)thread], dp, true);
      for (int64_t i = 0; i < rows; i++) {
        float *row = rows_in + i * dp, *of_scores = u + i * dp, *sums = d + i * dp, shrink = 0;
        if (normed) {
          float scale = inverse[m + i];
          shrink = dot(row, of_scores, dp) * scale * scale / (float)D;
        }
        for (int64_t k = 0; k < dp; k += VL)
          store(sums + k, load(sums + k) + load(of_scores + k) - load(row + k) * shrink);
        write_row(sums, D, d_v + (m + i) * D);
      }
    }
  });
  gather(parts, dp, n, D, d_folded);
  queries.gradients(d_folded, n, D, d_queries, d_gains);
}
