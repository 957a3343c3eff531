// From a projection of a token's streams to the weights with which they are read and written.
//
// N streams, R reads. A token's weights are K rows of N: R rows of reads, N of mixing, one of
// writing; or reads alone. Blocks of tokens are in fp32; rows of O outputs are padded to `np`.
#pragma once
#include "lanes.h"
#include "linear.h"
#include "sinkhorn.h"

struct GateInputs {
  int64_t N, R, O;
  const float *scale, *offset;  // padded rows: one, and `offsets`
};

struct Gate : GateInputs {
  int64_t K = R + N + 1, rows = 1, offsets = 1, np = padded(O);

  explicit Gate(const GateInputs& inputs) : GateInputs(inputs) {}
  virtual ~Gate() {}
  // p: (tokens rows, np), the projection; w: (tokens, K, N).
  virtual void forward(int64_t tokens, const float* p, float* w) const = 0;
  // d_w: as w. d_p: as p. Adds to d_scale (np) and d_offset (offsets, np).
  virtual void backward(int64_t tokens, const float* p, const float* w, const float* d_w,
                        float* d_p, float* d_scale, float* d_offset) const = 0;
};

// tanh(x) to a few units in the last place (the rational function of Eigen's `ptanh`).
static inline vf hyperbolic_tangent(vf x) {
  x = x < -7.90531110763549805f ? splat(-7.90531110763549805f) : x;
  x = x > 7.90531110763549805f ? splat(7.90531110763549805f) : x;
  vf s = x * x;
  vf top = splat(-2.76076847742355e-16f);
  top = top * s + 2.00018790482477e-13f;
  top = top * s - 8.60467152213735e-11f;
  top = top * s + 5.12229709037114e-08f;
  top = top * s + 1.48572235717979e-05f;
  top = top * s + 6.37261928875436e-04f;
  top = top * s + 4.89352455891786e-03f;
  vf bottom = splat(1.19825839466702e-06f);
  bottom = bottom * s + 1.18534705686654e-04f;
  bottom = bottom * s + 2.26843463243900e-03f;
  bottom = bottom * s + 4.89352518554385e-03f;
  return x * top / bottom;
}

// offset + scale * tanh(p), or without the tanh; p has a row of K for each stream.
struct LearnedGate : Gate {
  bool tanh;
  LearnedGate(const GateInputs& inputs, bool tanh) : Gate(inputs), tanh(tanh) { rows = offsets = N; }

  vf activation(vf x) const { return tanh ? hyperbolic_tangent(x) : x; }

  void forward(int64_t tokens, const float* p, float* w) const override {
    Frame frame;
    float* row = scratch.floats(np);
    for (int64_t t = 0; t < tokens; t++)
      for (int64_t n = 0; n < N; n++) {
        for (int64_t c = 0; c < np; c += VL) {
          vf a = activation(load(p + (t * N + n) * np + c));
          store(row + c, load(offset + n * np + c) + load(scale + c) * a);
        }
        for (int64_t k = 0; k < K; k++) w[(t * K + k) * N + n] = row[k];
      }
  }

  void backward(int64_t tokens, const float* p, const float*, const float* d_w, float* d_p,
                float* d_scale, float* d_offset) const override {
    Frame frame;
    float* row = scratch.zeros(np);
    for (int64_t t = 0; t < tokens; t++)
      for (int64_t n = 0; n < N; n++) {
        for (int64_t k = 0; k < K; k++) row[k] = d_w[(t * K + k) * N + n];
        for (int64_t c = 0; c < np; c += VL) {
          vf a = activation(load(p + (t * N + n) * np + c)), d = load(row + c);
          float* out = d_offset + n * np + c;
          store(out, load(out) + d);
          store(d_scale + c, load(d_scale + c) + d * a);
          d = d * load(scale + c);
          store(d_p + (t * N + n) * np + c, tanh ? d * (1.0f - a * a) : d);
        }
      }
  }
};

// Sigmoids of scale * p + offset, doubled for the write; p is one row: read, write, mixing.
struct SigmoidGate : Gate {
  explicit SigmoidGate(const GateInputs& inputs) : Gate(inputs) {
    if (O == N) K = 1;
  }

  // logits: (tokens, np), of which those of the mixing begin at 2 N.
  virtual void mix(int64_t, const float*, float*) const {}
  // d_w to d_logits.
  virtual void mix_backward(int64_t, const float*, const float*, float*) const {}

  void logits_of(int64_t tokens, const float* p, float* logits) const {
    for (int64_t t = 0; t < tokens; t++)
      for (int64_t c = 0; c < np; c += VL)
        store(logits + t * np + c, load(p + t * np + c) * load(scale + c) + load(offset + c));
  }

  void forward(int64_t tokens, const float* p, float* w) const override {
    Frame frame;
    float *logits = scratch.floats(tokens * np), *row = scratch.floats(np);
    logits_of(tokens, p, logits);
    for (int64_t t = 0; t < tokens; t++) {
      float *read = w + t * K * N, *write = read + (K - 1) * N;
      for (int64_t c = 0; c < std::min(np, padded(2 * N)); c += VL)
        store(row + c, 1.0f / (1.0f + exponential(-load(logits + t * np + c))));
      for (int64_t n = 0; n < N; n++) {
        read[n] = row[n];
        if (K > 1) write[n] = 2 * row[N + n];
      }
    }
    mix(tokens, logits, w);
  }

  void backward(int64_t tokens, const float* p, const float* w, const float* d_w, float* d_p,
                float* d_scale, float* d_offset) const override {
    Frame frame;
    float *logits = scratch.floats(tokens * np), *d = scratch.zeros(tokens * np);
    logits_of(tokens, p, logits);
    mix_backward(tokens, logits, d_w, d);
    for (int64_t t = 0; t < tokens; t++) {
      float* row = d + t * np;
      const int64_t read = t * K * N, write = read + (K - 1) * N;
      for (int64_t n = 0; n < N; n++) {
        row[n] = d_w[read + n] * w[read + n] * (1 - w[read + n]);
        if (K > 1) row[N + n] = d_w[write + n] * w[write + n] * (1 - w[write + n] / 2);
      }
      for (int64_t c = 0; c < np; c += VL) {
        vf x = load(row + c);
        store(d_offset + c, load(d_offset + c) + x);
        store(d_scale + c, load(d_scale + c) + x * load(p + t * np + c));
        store(d_p + t * np + c, x * load(scale + c));
      }
    }
  }
};

struct SinkhornGate : SigmoidGate {
  int64_t iterations;
  SinkhornGate(const GateInputs& inputs, int64_t iterations)
      : SigmoidGate(inputs), iterations(iterations) {}

  // Entries with tokens side by side, zeros where there are no more tokens.
  void aside(int64_t tokens, const float* rows, int64_t ld, float* out) const {
    for (int64_t e = 0; e < N * N; e++)
      for (int64_t t = 0; t < VL; t++) out[e * VL + t] = t < tokens ? rows[t * ld + e] : 0;
  }

  void mix(int64_t tokens, const float* logits, float* w) const override {
    by_number(N, [&](auto constant) {
      Frame frame;
      Sinkhorn<decltype(constant)::value> all(N, iterations);
      float *x = scratch.floats(N * N * VL), *kept = scratch.floats(all.kept());
      for (int64_t t0 = 0; t0 < tokens; t0 += VL) {
        int64_t count = std::min<int64_t>(VL, tokens - t0);
        aside(count, logits + t0 * np + 2 * N, np, x);
        const float* matrix = all.forward(x, kept);
        for (int64_t t = 0; t < count; t++)
          for (int64_t e = 0; e < N * N; e++) w[((t0 + t) * K + 1) * N + e] = matrix[e * VL + t];
      }
    });
  }

  void mix_backward(int64_t tokens, const float* logits, const float* d_w,
                    float* d) const override {
    by_number(N, [&](auto constant) {
      Frame frame;
      Sinkhorn<decltype(constant)::value> all(N, iterations);
      float *x = scratch.floats(N * N * VL), *kept = scratch.floats(all.kept());
      float* change = scratch.floats(N * N * VL);
      for (int64_t t0 = 0; t0 < tokens; t0 += VL) {
        int64_t count = std::min<int64_t>(VL, tokens - t0);
        aside(count, logits + t0 * np + 2 * N, np, x);
        aside(count, d_w + (t0 * K + 1) * N, K * N, change);
        all.forward(x, kept);
        all.backward(x, kept, change);
        for (int64_t t = 0; t < count; t++)
          for (int64_t e = 0; e < N * N; e++) d[(t0 + t) * np + 2 * N + e] = change[e * VL + t];
      }
    });
  }
};

// A mean of F permutation matrices under softmax weights.
struct PermutationGate : SigmoidGate {
  int64_t F = O - 2 * N, fp = padded(F), mp = padded(N * N);
  const float *matrices, *transposed;  // (F, N N), packed as right operands

  PermutationGate(const GateInputs& inputs, const float* permutations_FNN)
      : SigmoidGate(inputs) {
    float* straight = scratch.floats(packed_size(F, N * N));
    float* other = scratch.floats(packed_size(N * N, F));
    pack_straight<Fp32>(permutations_FNN, N * N, F, N * N, straight);
    pack_transposed<Fp32>(permutations_FNN, N * N, N * N, F, other);
    matrices = straight;
    transposed = other;
  }

  void softmax(int64_t tokens, const float* logits, float* shares) const {
    for (int64_t t = 0; t < tokens; t++) {
      float* row = shares + t * fp;
      memcpy(row, logits + t * np + 2 * N, (size_t)F * 4);
      zero_padding(row, F);
      float inverse = 1 / exponentials(row, F, fp, largest_of(row, F));
      for (int64_t c = 0; c < fp; c += VL) store(row + c, load(row + c) * inverse);
    }
  }

  void mix(int64_t tokens, const float* logits, float* w) const override {
    Frame frame;
    float *shares = scratch.floats(tokens * fp), *mixed = scratch.floats(tokens * mp);
    softmax(tokens, logits, shares);
    product<Fp32>(tokens, N * N, F, shares, fp, 1, matrices, N * N, F, mixed, mp, false);
    for (int64_t t = 0; t < tokens; t++)
      memcpy(w + (t * K + 1) * N, mixed + t * mp, (size_t)(N * N) * 4);
  }

  void mix_backward(int64_t tokens, const float* logits, const float* d_w,
                    float* d) const override {
    Frame frame;
    float *shares = scratch.floats(tokens * fp), *change = scratch.floats(tokens * fp);
    softmax(tokens, logits, shares);
    product<Fp32>(tokens, F, N * N, d_w + N, K * N, 1, transposed, F, N * N, change, fp, false);
    for (int64_t t = 0; t < tokens; t++) {
      const float *c = shares + t * fp, *d_c = change + t * fp;
      vf total = {};
      for (int64_t k = 0; k < fp; k += VL) total = total + load(c + k) * load(d_c + k);
      float mean = sum(total);
      for (int64_t k = 0; k < F; k++) d[t * np + 2 * N + k] = c[k] * (d_c[k] - mean);
    }
  }
};

// f(gate) with one of: 0 learned, 1 Sinkhorn, 2 permutations, 3 reads alone. setting: whether there
// is a tanh, or how many iterations. scale: (O); offset: (O), or (N, O) where learned.
template <class F>
static void with_gate(int64_t which, GateInputs inputs, int64_t setting, const float* permutations,
                      F f) {
  Frame frame;
  const int64_t O = inputs.O, np = padded(O), offsets = which == 0 ? inputs.N : 1;
  float* rows = scratch.floats(offsets * np);
  for (int64_t n = 0; n < offsets; n++) read_row(inputs.offset + n * O, O, rows + n * np);
  inputs.scale = padded_copy(inputs.scale, O);
  inputs.offset = rows;
  switch (which) {
    case 0: return f(LearnedGate(inputs, setting != 0));
    case 1: return f(SinkhornGate(inputs, setting));
    case 2: return f(PermutationGate(inputs, permutations));
    default: return f(SigmoidGate(inputs));
  }
}
