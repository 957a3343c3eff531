// Operands of matrix products, and sums of products of a few rows by vectors.
//
// Operands are made of 4-byte units: a float, or two bf16 values that are neighbours in the
// dimension summed over. So one kernel serves both, and only its innermost instruction differs.
// The right operand lies in panels of 4 VL columns: panel p holds all its rows, one after another.
#pragma once
#include "vec.h"

constexpr int PANEL = 4 * VL;

#if defined(__AVX512F__) || defined(__aarch64__)
constexpr bool MANY_REGISTERS = true;  // 32 vectors, of which sums may take 24
#else
constexpr bool MANY_REGISTERS = false;
#endif

struct Fp32 {
  typedef float row;
  static constexpr int per_unit = 1;
  static inline vf add(vf c, vf a, vf b) { return c + a * b; }
};
struct Bf16 {
  typedef bf16 row;
  static constexpr int per_unit = 2;
  static inline vf add(vf c, vf a, vf b) {
#if defined(__AVX512BF16__)
    return (vf)_mm512_dpbf16_ps((__m512)c, (__m512bh)(__m512)a, (__m512bh)(__m512)b);
#else
    vi high = {};
    high = high + (int32_t)0xffff0000;
    vf a1 = (vf)((vi)a & high), b1 = (vf)((vi)b & high);
    vf a0 = (vf)((vi)a << 16), b0 = (vf)((vi)b << 16);
    return c + a0 * b0 + a1 * b1;
#endif
  }
};

template <class P>
static inline int64_t units(int64_t n) { return (n + P::per_unit - 1) / P::per_unit; }

template <class P, int MR, int NV>
static inline void tile(int64_t K, const float* a, int64_t a_row, int64_t a_unit, const float* b,
                        int64_t b_row, float* c, int64_t c_row, bool more) {
  vf r[MR][NV];
#pragma GCC unroll 12
  for (int i = 0; i < MR; i++)
#pragma GCC unroll 4
    for (int j = 0; j < NV; j++) r[i][j] = more ? load(c + i * c_row + j * VL) : vf{};
  for (int64_t k = 0; k < K; k++) {
    vf bv[NV];
#pragma GCC unroll 4
    for (int j = 0; j < NV; j++) bv[j] = load(b + k * b_row + j * VL);
#pragma GCC unroll 12
    for (int i = 0; i < MR; i++) {
      vf av = splat(a[i * a_row + k * a_unit]);
#pragma GCC unroll 4
      for (int j = 0; j < NV; j++) r[i][j] = P::add(r[i][j], av, bv[j]);
    }
  }
#pragma GCC unroll 12
  for (int i = 0; i < MR; i++)
#pragma GCC unroll 4
    for (int j = 0; j < NV; j++) store(c + i * c_row + j * VL, r[i][j]);
}

template <class P, int NV>
static inline void column(int64_t M, int64_t K, const float* a, int64_t a_row, int64_t a_unit,
                          const float* b, int64_t b_row, float* c, int64_t c_row, bool more) {
  int64_t i = 0;
  auto rows = [&](auto size) {
    constexpr int MR = decltype(size)::value;
    // Twelve sums are what 16 registers hold beside their operands.
    constexpr int FIRST = MANY_REGISTERS ? NV : std::min(NV, 2);
    for (; i + MR <= M; i += MR) {
      const float* left = a + i * a_row;
      float* sums = c + i * c_row;
      tile<P, MR, FIRST>(K, left, a_row, a_unit, b, b_row, sums, c_row, more);
      if constexpr (FIRST < NV)
        tile<P, MR, NV - FIRST>(K, left, a_row, a_unit, b + FIRST * VL, b_row, sums + FIRST * VL,
                                c_row, more);
    }
  };
  if constexpr (NV == 1 || (NV == 2 && MANY_REGISTERS)) rows(std::integral_constant<int, 12>());
  rows(std::integral_constant<int, 6>());
  rows(std::integral_constant<int, 2>());
  rows(std::integral_constant<int, 1>());
}

// Calls f(number of vectors, panel, its row length, its sums) for every panel of N columns.
template <class F>
static inline void by_panels(int64_t N, const float* b, int64_t b_columns, int64_t b_rows, float* c,
                             F f) {
  for (int64_t n = 0; n < N; n += PANEL) {
    int64_t width = std::min<int64_t>(PANEL, padded(b_columns) - n);
    const float* panel = b + n * b_rows;
    switch ((std::min<int64_t>(PANEL, N - n) + VL - 1) / VL) {
      case 1: f(std::integral_constant<int, 1>(), panel, width, c + n); break;
      case 2: f(std::integral_constant<int, 2>(), panel, width, c + n); break;
      case 3: f(std::integral_constant<int, 3>(), panel, width, c + n); break;
      default: f(std::integral_constant<int, 4>(), panel, width, c + n);
    }
  }
}
