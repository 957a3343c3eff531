// Vectors of the machine's width, 16-bit floats, scratch memory and threads.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>
#if defined(__AVX2__)
#include <immintrin.h>
#endif
#if defined(_OPENMP)
#include <omp.h>
#endif

#if defined(__AVX512F__)
constexpr int VL = 16;
#elif defined(__AVX2__)
constexpr int VL = 8;
#else
constexpr int VL = 4;
#endif
typedef float vf __attribute__((vector_size(VL * 4)));
typedef int32_t vi __attribute__((vector_size(VL * 4)));
typedef uint16_t vh __attribute__((vector_size(VL * 2)));
typedef float vf_u __attribute__((vector_size(VL * 4), aligned(4), may_alias));
typedef uint16_t vh_u __attribute__((vector_size(VL * 2), aligned(2), may_alias));
typedef uint16_t bf16;

static inline vf splat(float x) { return x - vf{}; }
static inline vf load(const float* p) { return *(const vf_u*)p; }
static inline void store(float* p, vf x) { *(vf_u*)p = x; }
static inline vf load(const bf16* p) {
  return (vf)(__builtin_convertvector(*(const vh_u*)p, vi) << 16);
}
static inline vh narrow(vf x) {
#if defined(__AVX512BF16__)
  return (vh)_mm512_cvtneps_pbh((__m512)x);
#else
  vi bits = (vi)x;
  return __builtin_convertvector((bits + 0x7fff + ((bits >> 16) & 1)) >> 16, vh);
#endif
}
static inline void store(bf16* p, vf x) { *(vh_u*)p = narrow(x); }

// The first n < VL entries, then zeros; and back.
static inline vf load_part(const float* p, int64_t n) {
#if defined(__AVX512F__)
  return (vf)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
#else
  float part[VL] = {};
  memcpy(part, p, (size_t)n * 4);
  return load(part);
#endif
}
static inline vf load_part(const bf16* p, int64_t n) {
#if defined(__AVX512BW__) && defined(__AVX512VL__)
  vh part = (vh)_mm256_maskz_loadu_epi16((__mmask16)((1u << n) - 1), p);
  return (vf)(__builtin_convertvector(part, vi) << 16);
#else
  bf16 part[VL] = {};
  memcpy(part, p, (size_t)n * 2);
  return load(part);
#endif
}
static inline void store_part(float* p, vf x, int64_t n) {
#if defined(__AVX512F__)
  _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), (__m512)x);
#else
  memcpy(p, &x, (size_t)n * 4);
#endif
}
static inline void store_part(bf16* p, vf x, int64_t n) {
  vh part = narrow(x);
#if defined(__AVX512BW__) && defined(__AVX512VL__)
  _mm256_mask_storeu_epi16(p, (__mmask16)((1u << n) - 1), (__m256i)part);
#else
  memcpy(p, &part, (size_t)n * 2);
#endif
}

static inline float to_float(float x) { return x; }
static inline float to_float(bf16 x) {
  uint32_t bits = (uint32_t)x << 16;
  float value;
  memcpy(&value, &bits, 4);
  return value;
}
template <class T>
static inline T from_float(float x);
template <>
inline float from_float<float>(float x) { return x; }
template <>
inline bf16 from_float<bf16>(float x) {
  vf v = splat(x);
  vh h = narrow(v);
  return h[0];
}

static inline float sum(vf x) {
#if defined(__AVX512F__)
  return _mm512_reduce_add_ps((__m512)x);
#elif defined(__AVX2__)
  __m128 half = _mm_add_ps(_mm256_castps256_ps128((__m256)x), _mm256_extractf128_ps((__m256)x, 1));
  half = _mm_add_ps(half, _mm_movehl_ps(half, half));
  return _mm_cvtss_f32(_mm_add_ss(half, _mm_movehdup_ps(half)));
#else
  float total = 0;
  for (int i = 0; i < VL; i++) total += x[i];
  return total;
#endif
}
static inline float top(vf x) {
#if defined(__AVX512F__)
  return _mm512_reduce_max_ps((__m512)x);
#elif defined(__AVX2__)
  __m128 half = _mm_max_ps(_mm256_castps256_ps128((__m256)x), _mm256_extractf128_ps((__m256)x, 1));
  half = _mm_max_ps(half, _mm_movehl_ps(half, half));
  return _mm_cvtss_f32(_mm_max_ss(half, _mm_movehdup_ps(half)));
#else
  float best = x[0];
  for (int i = 1; i < VL; i++) best = x[i] > best ? x[i] : best;
  return best;
#endif
}
static inline vf larger(vf a, vf b) { return a > b ? a : b; }

// The first n entries, then zeros.
static inline vf first_of(vf x, int64_t n) {
  vi lane;
  for (int i = 0; i < VL; i++) lane[i] = i;
  return lane < (int32_t)n ? x : vf{};
}

// e^x to about 1e-7, relative; 0 far below, not a number where x is not one.
static inline vf exponential(vf x) {
  x = x < -87.0f ? splat(-87.0f) : x;
  x = x > 88.0f ? splat(88.0f) : x;
  vf n = x * 1.44269504f + 12582912.0f;
  vi bits = (vi)n;
  n = n - 12582912.0f;
  x = x - n * 0.693359375f;
  x = x + n * 2.12194440e-4f;
  vf y = splat(1.9875691500e-4f);
  y = y * x + 1.3981999507e-3f;
  y = y * x + 8.3334519073e-3f;
  y = y * x + 4.1665795894e-2f;
  y = y * x + 1.6666665459e-1f;
  y = y * x + 5.0000001201e-1f;
  y = y * x * x + x + 1.0f;
  vi power = ((bits - 0x4b400000) + 127) << 23;
  return y * (vf)power;
}

static inline int64_t up(int64_t n, int64_t step) { return (n + step - 1) / step * step; }
static inline int64_t padded(int64_t n) { return up(n, VL); }

// Memory that a thread keeps between calls; `mark` and `release` nest like a stack.
struct Scratch {
  std::vector<std::pair<char*, size_t>> blocks;
  size_t used = 0;
  float* floats(int64_t n) {
    size_t bytes = up(std::max<int64_t>(n, 1) * 4 + 64, 64);
    // A block that is in the way and too small is replaced by a larger one.
    if (used < blocks.size() && blocks[used].second < bytes) {
      free(blocks[used].first);
      blocks.erase(blocks.begin() + (long)used);
    }
    if (used == blocks.size() || blocks[used].second < bytes) {
      void* p = nullptr;
      if (posix_memalign(&p, 64, bytes) != 0) abort();
      blocks.insert(blocks.begin() + (long)used, {(char*)p, bytes});
    }
    return (float*)blocks[used++].first;
  }
  float* zeros(int64_t n) {
    float* p = floats(n);
    memset(p, 0, (size_t)n * 4);
    return p;
  }
};
static thread_local Scratch scratch;
struct Frame {
  size_t before = scratch.used;
  ~Frame() { scratch.used = before; }
};

// f(thread, threads) on each of `threads` threads.
template <class F>
static void on_threads(int threads, F f) {
#if defined(_OPENMP)
  if (threads > 1) {
#pragma omp parallel num_threads(threads)
    f(omp_get_thread_num(), threads);
    return;
  }
#endif
  for (int t = 0; t < threads; t++) f(t, threads);
}
