// Products of few rows with matrices as they lie: nothing is packed, so nothing can be out of date.
#pragma once
#include "norm.h"

constexpr int FEW = VL == 16 ? 3 : 2;   // rows of inputs whose dot products share the registers
constexpr int WIDTH = VL == 16 ? 8 : 4;  // with so many rows of a weight

// The vector at c of a row of n entries, whose memory ends with it.
static inline vf part(const float* row, int64_t c, int64_t n) {
  return c + VL <= n ? load(row + c) : load_part(row + c, n - c);
}

// The sums of four vectors.
static inline void sums(const vf* v, float* out) {
#if defined(__AVX512F__)
  __m512 a = (__m512)v[0], b = (__m512)v[1], c = (__m512)v[2], d = (__m512)v[3];
  __m512 ab = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
  __m512 cd = _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
  __m512 abcd = _mm512_add_ps(_mm512_shuffle_ps(ab, cd, 0x44), _mm512_shuffle_ps(ab, cd, 0xee));
  __m256 half = _mm256_add_ps(_mm512_castps512_ps256(abcd), _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(abcd), 1)));
  _mm_storeu_ps(out, _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1)));
#else
  for (int i = 0; i < 4; i++) out[i] = sum(v[i]);
#endif
}

// Dot products of MR rows of a with NR rows of w, of K entries each. Fetches the row `ahead`.
template <int MR, int NR>
static inline void dots(int64_t K, const float* a, int64_t a_row, const float* w, int64_t w_row,
                        float* c, int64_t c_row, bool more, const float* ahead) {
  constexpr int FOURS = (NR + 3) / 4 * 4;
  vf r[MR][FOURS] = {};
  auto add = [&](auto read, int64_t k) {
    vf wv[NR];
#pragma GCC unroll 8
    for (int j = 0; j < NR; j++) wv[j] = read(w + j * w_row + k);
#pragma GCC unroll 3
    for (int i = 0; i < MR; i++) {
      vf av = read(a + i * a_row + k);
#pragma GCC unroll 8
      for (int j = 0; j < NR; j++) r[i][j] = r[i][j] + av * wv[j];
    }
  };
  int64_t k = 0;
  for (; k + VL <= K; k += VL) {
    if constexpr (MR == FEW) __builtin_prefetch(ahead + k);
    add([](const float* p) { return load(p); }, k);
  }
  if (k < K) add([&](const float* p) { return load_part(p, K - k); }, k);
#pragma GCC unroll 3
  for (int i = 0; i < MR; i++) {
    float total[FOURS], *out = c + i * c_row;
#pragma GCC unroll 2
    for (int j = 0; j < FOURS; j += 4) sums(r[i] + j, total + j);
#pragma GCC unroll 8
    for (int j = 0; j < NR; j++) out[j] = more ? out[j] + total[j] : total[j];
  }
}

// c[M, N] (+)= a[M, K] w[N, K]^T: a weight (out, in), or keys.
static void few_product(int64_t M, int64_t N, int64_t K, const float* a, int64_t a_row,
                        const float* w, int64_t w_row, float* c, int64_t c_row, bool more) {
  int64_t n = 0;
  auto columns = [&](auto width) {
    constexpr int NR = decltype(width)::value;
    for (; n + NR <= N; n += NR) {
      int64_t i = 0;
      auto rows = [&](auto size) {
        constexpr int MR = decltype(size)::value;
        for (; i + MR <= M; i += MR)
          dots<MR, NR>(K, a + i * a_row, a_row, w + n * w_row, w_row, c + i * c_row + n, c_row,
                       more, w + std::min(n + NR + i / MR, N) * w_row);
      };
      rows(std::integral_constant<int, FEW>());
      if constexpr (FEW > 2) rows(std::integral_constant<int, 2>());
      rows(std::integral_constant<int, 1>());
    }
  };
  if constexpr (WIDTH > 4) columns(std::integral_constant<int, WIDTH>());
  columns(std::integral_constant<int, 4>());
  columns(std::integral_constant<int, 1>());
}

template <int N>
static inline void weighted_columns(const float* weights, int64_t S, const float* rows, int64_t ld,
                                    float* out) {
  vf even[N] = {}, odd[N] = {};
  int64_t s = 0;
  for (; s + 2 <= S; s += 2)
#pragma GCC unroll 4
    for (int j = 0; j < N; j++) {
      even[j] = even[j] + weights[s] * load(rows + s * ld + j * VL);
      odd[j] = odd[j] + weights[s + 1] * load(rows + (s + 1) * ld + j * VL);
    }
#pragma GCC unroll 4
  for (int j = 0; j < N; j++) {
    if (s < S) even[j] = even[j] + weights[s] * load(rows + s * ld + j * VL);
    store(out + j * VL, even[j] + odd[j]);
  }
}

// out[n] = sum of weights[s] rows[s, n] over S rows.
static void weighted_rows(const float* weights, int64_t S, const float* rows, int64_t ld, int64_t n,
                          float* out) {
  int64_t c = 0;
  for (; c + 4 * VL <= n; c += 4 * VL) weighted_columns<4>(weights, S, rows + c, ld, out + c);
  for (; c + 2 * VL <= n; c += 2 * VL) weighted_columns<2>(weights, S, rows + c, ld, out + c);
  for (; c + VL <= n; c += VL) weighted_columns<1>(weights, S, rows + c, ld, out + c);
  if (c == n) return;
  vf total = {};
  for (int64_t s = 0; s < S; s++)
    total = total + weights[s] * load_part(rows + s * ld + c, n - c);
  for (int64_t i = c; i < n; i++) out[i] = total[i - c];
}

// Scores become weights that sum to one.
static inline void softmax(float* scores, int64_t n) {
  float scale = 1 / exponentials(scores, n, n, largest_of(scores, n));
  for (int64_t c = 0; c < padded(n); c += VL) store(scores + c, load(scores + c) * scale);
}

// h = x / rms(x) * gain of a row of n entries. Only the gain's memory may end with it.
static inline void norm_few(const float* x, const float* gain, int64_t n, float* h) {
  vf total = {};
  for (int64_t c = 0; c < n; c += VL) {
    vf v = part(x, c, n);
    total = total + v * v;
  }
  float scale = 1 / std::sqrt(sum(total) / (float)n + EPSILON);
  for (int64_t c = 0; c < n; c += VL) {
    vf v = part(x, c, n) * part(gain, c, n) * scale;
    if (c + VL <= n) store(h + c, v);
    else
      for (int64_t i = c; i < n; i++) h[i] = v[i - c];
  }
}
