// 16 x 16 transposed in registers.
#pragma once
#include "vec.h"

#if defined(__AVX512F__)
// r[i][k] becomes r[k][i].
static inline void transpose(__m512 (&r)[VL]) {
  __m512i lane = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
  // Blocks of 1, 2, 4 and 8 change places with their mirror images.
#pragma GCC unroll 4
  for (int step = 1; step < VL; step *= 2) {
    __mmask16 odd = _mm512_test_epi32_mask(lane, _mm512_set1_epi32(step));
    __m512i low = _mm512_mask_add_epi32(lane, odd, lane, _mm512_set1_epi32(VL - step));
    __m512i high = _mm512_add_epi32(low, _mm512_set1_epi32(step));
#pragma GCC unroll 16
    for (int i = 0; i < VL; i++) {
      if (i & step) continue;
      __m512 a = r[i], b = r[i + step];
      r[i] = _mm512_permutex2var_ps(a, low, b);
      r[i + step] = _mm512_permutex2var_ps(a, high, b);
    }
  }
}

// dst[i * VL + k] = src[k * ld + i] for i < m, k < n; the rest of dst is zero.
static inline void transposed(const float* src, int64_t ld, int64_t m, int64_t n, float* dst) {
  __m512 r[VL];
#pragma GCC unroll 16
  for (int k = 0; k < VL; k++)
    r[k] = k < n ? _mm512_maskz_loadu_ps((__mmask16)((1u << m) - 1), src + k * ld)
                 : _mm512_setzero_ps();
  transpose(r);
#pragma GCC unroll 16
  for (int i = 0; i < VL; i++) _mm512_storeu_ps(dst + i * VL, r[i]);
}
#endif
