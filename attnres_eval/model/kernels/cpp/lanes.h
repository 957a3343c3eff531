// The same arithmetic on vectors of a row and on what is left at its end.
#pragma once
#include "vec.h"

template <class V, class T>
static inline V get(const T* p) {
  if constexpr (std::is_same<V, float>::value) return to_float(*p);
  else return load(p);
}
template <class V, class T>
static inline void put(T* p, V x) {
  if constexpr (std::is_same<V, float>::value) *p = from_float<T>(x);
  else store(p, x);
}
static inline float sum(float x) { return x; }

// f(a zero of the type to compute with, first column).
template <class F>
static inline void by_lanes(int64_t n, F f) {
  int64_t c = 0;
  for (; c + VL <= n; c += VL) f(vf{}, c);
  for (; c < n; c++) f(0.0f, c);
}

// f(constant), the constant 0 where the number of streams is none of the usual ones.
template <class F>
static inline void by_number(int64_t n, F f) {
  if (n == 4) f(std::integral_constant<int, 4>());
  else if (n == 2) f(std::integral_constant<int, 2>());
  else f(std::integral_constant<int, 0>());
}

// The sums of `count` vectors.
static inline void sums_of(const vf* x, int count, float* out) {
  int i = 0;
#if defined(__AVX512F__)
  for (; i + 4 <= count; i += 4) {
    auto pairs = [](vf a, vf b) {
      __m512 low = _mm512_unpacklo_ps((__m512)a, (__m512)b);
      return (__m512d)_mm512_add_ps(low, _mm512_unpackhi_ps((__m512)a, (__m512)b));
    };
    __m512d first = pairs(x[i], x[i + 1]), second = pairs(x[i + 2], x[i + 3]);
    __m512 quarters = _mm512_add_ps((__m512)_mm512_unpacklo_pd(first, second),
                                    (__m512)_mm512_unpackhi_pd(first, second));
    __m256 halves = _mm256_add_ps(_mm512_castps512_ps256(quarters),
                                  _mm512_extractf32x8_ps(quarters, 1));
    _mm_storeu_ps(out + i, _mm_add_ps(_mm256_castps256_ps128(halves),
                                      _mm256_extractf128_ps(halves, 1)));
  }
#elif defined(__AVX2__)
  for (; i + 4 <= count; i += 4) {
    auto pairs = [&](int n) { return _mm256_hadd_ps((__m256)x[n], (__m256)x[n + 1]); };
    __m256 halves = _mm256_hadd_ps(pairs(i), pairs(i + 2));
    _mm_storeu_ps(out + i, _mm_add_ps(_mm256_castps256_ps128(halves),
                                      _mm256_extractf128_ps(halves, 1)));
  }
#endif
  for (; i < count; i++) out[i] = sum(x[i]);
}
