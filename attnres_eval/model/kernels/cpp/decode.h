// One token of each row through all layers, by the cached keys and values of the tokens before it.
//
// The history of a row is a list of sources: the embedding, then what sublayers put out. Each
// sublayer adds its output to one source, and opens it if it is the next; a reader mixes all that
// are open by attention over depth, or takes the only one as it is. PreNorm has one source, Block
// AttnRes one a block more, Full AttnRes one a sublayer more.
#pragma once
#include "few_tokens.h"
#include "linear.h"

struct DecodeLayer {
  const float *norm, *qkv, *q_norm, *k_norm, *out, *mlp_norm, *gate_up, *down;
  float *keys, *values;  // (B, G, capacity, K)
};

struct DecodeStep {
  int64_t D, H, G, K, F;
  int64_t layers, sources;
  int64_t length, capacity;  // keys before this token; keys that there is memory for
  int64_t table_row, mask_row;  // row lengths, 0 where all rows share one
  bool normed;                  // whether sources are normalised to be scored
  const DecodeLayer* layer;
  const int64_t* slots;  // the source that each sublayer adds to
  const float* queries;  // (readers, D), of all that have several sources; gain and scale included
  const float *cos, *sin, *mask;
};

// What one thread knows of its rows. Row lengths are padded; a source's padding is zero.
struct DecodeRows {
  const DecodeStep& s;
  int64_t count, first;
  int64_t dp = padded(s.D), cp = padded((s.H + 2 * s.G) * s.K), mp = padded(s.H * s.K);
  int64_t gp = padded(2 * s.F), fp = padded(s.F), sp = padded(s.length + 1);
  float* history = scratch.zeros(count * s.sources * dp);
  float* inverse_rms_of = scratch.floats(count * s.sources);
  float *h = scratch.floats(count * dp), *qkv = scratch.floats(count * cp);
  float *mixed = scratch.floats(count * mp), *gate_up = scratch.floats(count * gp);
  float *inner = scratch.floats(count * fp), *scores = scratch.floats(s.H / s.G * sp);
  float *depth = scratch.floats(padded(s.sources)), *turned = scratch.floats(padded(s.K));
  int64_t open = 1;
  const float* query = s.queries;

  float* source(int64_t row, int64_t slot) { return history + (row * s.sources + slot) * dp; }

  void measure(int64_t slot) {
    if (s.sources == 1) return;
    for (int64_t i = 0; i < count; i++)
      inverse_rms_of[i * s.sources + slot] = s.normed ? inverse_rms(source(i, slot), s.D) : 1;
  }

  void start(const float* embedding) {
    for (int64_t i = 0; i < count; i++) read_row(embedding + (first + i) * s.D, s.D, source(i, 0));
    measure(0);
  }

  // What the next reader gets of row i; `mix` is memory for it.
  const float* read_row_of(int64_t i, float* mix) {
    if (open == 1) return source(i, 0);
    few_product(1, open, s.D, query, 0, source(i, 0), dp, depth, 0, false);
    for (int64_t k = 0; k < open; k++) depth[k] *= inverse_rms_of[i * s.sources + k];
    softmax(depth, open);
    weighted_rows(depth, open, source(i, 0), dp, dp, mix);
    return mix;
  }

  // h becomes what the next reader gets, normalised where there is a gain.
  void read(const float* gain) {
    for (int64_t i = 0; i < count; i++) {
      const float* got = read_row_of(i, h + i * dp);
      if (gain != nullptr) norm_few(got, gain, s.D, h + i * dp);
      else if (got != h + i * dp) memcpy(h + i * dp, got, (size_t)dp * 4);
    }
    if (open > 1) query += s.D;
  }

  // A sublayer's output, of inputs of width n.
  void write(int64_t sublayer, const float* inputs, int64_t ld, const float* weight, int64_t n) {
    int64_t slot = s.slots[sublayer];
    bool more = slot < open;
    few_product(count, s.D, n, inputs, ld, weight, n, source(0, slot), s.sources * dp, more);
    open = std::max(open, slot + 1);
    measure(slot);
  }

  // The rotary embedding of one head, normalised first where there is a gain.
  void rotate(float* x, const float* gain, int64_t i, float scale, float* out) {
    if (gain != nullptr) norm_few(x, gain, s.K, x);
    const float *cos = s.cos + (first + i) * s.table_row, *sin = s.sin + (first + i) * s.table_row;
    const int64_t half = s.K / 2;
    for (int64_t k = 0; k < half; k++) {
      float a = x[k], b = x[k + half];
      turned[k] = (a * cos[k] + b * sin[k]) * scale;
      turned[k + half] = (b * cos[k + half] + a * sin[k + half]) * scale;
    }
    memcpy(out, turned, (size_t)s.K * 4);
  }

  void attend(const DecodeLayer& layer, int64_t i) {
    const int64_t queries = s.H / s.G, all = s.length + 1;
    float *q = qkv + i * cp, *k = q + s.H * s.K, *v = k + s.G * s.K;
    const float* mask = s.mask == nullptr ? nullptr : s.mask + (first + i) * s.mask_row;
    for (int64_t j = 0; j < s.H; j++)
      rotate(q + j * s.K, layer.q_norm, i, 1 / std::sqrt((float)s.K), q + j * s.K);
    for (int64_t g = 0; g < s.G; g++) {
      const int64_t at = ((first + i) * s.G + g) * s.capacity * s.K;
      float *keys = layer.keys + at, *values = layer.values + at;
      rotate(k + g * s.K, layer.k_norm, i, 1, keys + s.length * s.K);
      memcpy(values + s.length * s.K, v + g * s.K, (size_t)s.K * 4);
      few_product(queries, all, s.K, q + g * queries * s.K, s.K, keys, s.K, scores, sp, false);
      for (int64_t j = 0; j < queries; j++) {
        float* row = scores + j * sp;
        if (mask != nullptr)
          for (int64_t t = 0; t < all; t++) row[t] += mask[t];
        softmax(row, all);
        weighted_rows(row, all, values, s.K, s.K, mixed + i * mp + (g * queries + j) * s.K);
      }
    }
  }

  void step(const float* embedding, float* out) {
    const int64_t C = (s.H + 2 * s.G) * s.K;
    start(embedding);
    for (int64_t l = 0; l < s.layers; l++) {
      const DecodeLayer& layer = s.layer[l];
      read(layer.norm);
      few_product(count, C, s.D, h, dp, layer.qkv, s.D, qkv, cp, false);
      for (int64_t i = 0; i < count; i++) attend(layer, i);
      write(2 * l, mixed, mp, layer.out, s.H * s.K);
      read(layer.mlp_norm);
      few_product(count, 2 * s.F, s.D, h, dp, layer.gate_up, s.D, gate_up, gp, false);
      for (int64_t i = 0; i < count; i++)
        swiglu_few(gate_up + i * gp, gate_up + i * gp + s.F, s.F, inner + i * fp);
      write(2 * l + 1, inner, fp, layer.down, s.F);
    }
    read(nullptr);
    for (int64_t i = 0; i < count; i++) write_row(h + i * dp, s.D, out + (first + i) * s.D);
  }
};

// embedding, out: (B, D). Rows are shared among threads, each with all layers for its own.
static void decode_step(const DecodeStep& s, const float* embedding, float* out, int64_t B,
                        int threads) {
  on_threads(std::min<int64_t>(threads, (B + FEW - 1) / FEW), [&](int thread, int all) {
    Frame frame;
    auto [first, last] = share(B, FEW, thread, all);
    if (first < last) DecodeRows{s, last - first, first}.step(embedding, out);
  });
}
