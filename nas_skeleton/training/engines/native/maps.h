// Maps and vectors, the ground all kernels stand on.
//
// A map is (channels, height, width, lanes): height counts frames, width joints, and a lane is one
// body of one clip of the batch. Lanes lie innermost, so that every kernel works on whole vectors of
// clips whatever the size of a map and the number of its channels. `lanes` is a multiple of the
// vector length; lanes from `Context::valid` on are padding: they are computed along, counted in no
// statistic, and their gradients are zero. (Zero times infinity is not: should padding ever overflow,
// the training counts as diverged.)
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#ifndef SCALAR
#define SCALAR float
#endif

#if defined(__AVX512F__)
#define VECTOR_BYTES 64
#elif defined(__AVX__)
#define VECTOR_BYTES 32
#else
#define VECTOR_BYTES 16
#endif

using T = SCALAR;
typedef T Vec __attribute__((vector_size(VECTOR_BYTES), may_alias));
constexpr int64_t VL = VECTOR_BYTES / sizeof(T);

// Accumulators of a block of output channels must fit into registers: 32 with AVX-512, else 16.
constexpr int BLOCK = VECTOR_BYTES == 64 ? 8 : 4;

struct Map {
  T* data;
  int64_t channels, height, width;
  int64_t stride;  // elements between two channels; an odd number of cache lines, so that channels
                   // do not compete for the same lines of the cache
};

struct Context {
  const Map* maps;
  T* parameters;
  T* gradients;
  T* momentum;
  T* running;  // running statistics of all batch norms
  T* saved;    // mean and 1 / standard deviation of the batch, for the way back
  const T* inputs;  // (batch, channels, height, width, bodies)
  const int64_t* labels;  // of the clips of the batch; null unless training
  T* logits;  // (batch, classes)
  double* loss_sum;
  int64_t lanes, valid, batch, bodies, classes, parameter_count;
  int64_t training;
  double learning_rate, momentum_factor, weight_decay;
  int64_t nesterov;
};

inline Vec load(const T* p) { return *reinterpret_cast<const Vec*>(p); }
inline void store(T* p, Vec v) { *reinterpret_cast<Vec*>(p) = v; }
inline Vec splat(T x) { return Vec{} + x; }
inline Vec relu(Vec v) { return v <= Vec{} ? Vec{} : v; }  // NaN stays NaN
// A value that is used several times is loaded once: compilers like to load it anew for each use.
inline Vec in_register(Vec v) {
#if defined(__x86_64__)
  asm("" : "+x"(v));
#endif
  return v;
}
inline double sum(Vec v) {
  double total = 0;
  for (int64_t i = 0; i < VL; ++i) total += v[i];
  return total;
}

// Where a gradient goes: into `map`, stored or added, and only where `mask` (the output of the ReLU
// it passes on the way) is positive.
struct Sink {
  T* data = nullptr;
  const T* mask = nullptr;
  int64_t stride = 0, mask_stride = 0;
  bool add = false;

  Sink(const Map* maps, int64_t map, int64_t masked_by, int64_t adds)
      : data(maps[map].data), stride(maps[map].stride), add(adds != 0) {
    if (masked_by >= 0) mask = maps[masked_by].data, mask_stride = maps[masked_by].stride;
  }
  explicit Sink(const Map& map) : data(map.data), stride(map.stride) {}

  void put(int64_t channel, int64_t offset, Vec v) const {
    T* p = data + channel * stride + offset;
    if (mask) v = load(mask + channel * mask_stride + offset) > Vec{} ? v : Vec{};
    store(p, add ? load(p) + v : v);
  }
};

// 1 for lanes that hold a clip, 0 for padding.
inline std::vector<Vec> lane_mask(const Context& c) {
  std::vector<Vec> mask(c.lanes / VL);
  for (int64_t l = 0; l < c.lanes; ++l) mask[l / VL][l % VL] = l < c.valid ? 1 : 0;
  return mask;
}
