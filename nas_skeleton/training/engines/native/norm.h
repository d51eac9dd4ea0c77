// Batch norm (eps 1e-5, running statistics with momentum 0.1, as PyTorch's), and sums over channels.
//
// A "channel" of a norm is a whole channel of the map, or one joint of it (`per_joint`, ST-GCN's
// norm of the data): then its elements are rows of one joint. Parameters of channel c, joint v are at
// v * channels + c there.
#pragma once

#include "maps.h"

constexpr double EPS = 1e-5, RUNNING_MOMENTUM = 0.1;

// One channel of a norm: `rows` runs of `length` elements, `step` apart, from `offset` in channel c.
struct Slice {
  int64_t channel, offset, rows, length, step, parameter;
};

inline std::vector<Slice> slices(const Map& map, int64_t lanes, bool per_joint) {
  std::vector<Slice> all;
  for (int64_t c = 0; c < map.channels; ++c) {
    if (!per_joint) {
      all.push_back({c, 0, 1, map.height * map.width * lanes, 0, c});
      continue;
    }
    for (int64_t v = 0; v < map.width; ++v)
      all.push_back({c, v * lanes, map.height, lanes, map.width * lanes, v * map.channels + c});
  }
  return all;
}

template <class F>
inline void each(const Slice& s, F f) {
  for (int64_t r = 0; r < s.rows; ++r)
    for (int64_t i = 0; i < s.length; i += VL) f(s.offset + r * s.step + i);
}

struct Moments {
  double mean, variance, count;
};

// Mean and biased variance over the lanes that hold a clip, in one pass: sums around `shift` keep
// their digits as long as the shift is no further from the mean than a standard deviation or so.
inline Moments moments_around(const T* data, const Slice& s, const Context& c, T shift) {
  Vec first = {}, second = {}, around = splat(shift);
  if (c.valid == c.lanes) {
    each(s, [&](int64_t i) {
      Vec v = load(data + i) - around;
      first += v, second += v * v;
    });
  } else {
    auto mask = lane_mask(c);
    each(s, [&](int64_t i) {
      Vec v = (load(data + i) - around) * mask[i % c.lanes / VL];
      first += v, second += v * v;
    });
  }
  double count = double(s.rows * s.length) / c.lanes * c.valid;
  double mean = sum(first) / count;
  double variance = sum(second) / count - mean * mean;
  return {mean + shift, variance < 0 ? 0 : variance, count};
}

// The same around a shift that serves: the running mean, which costs nothing, is near enough but for
// the first steps; then a second pass goes around the mean itself.
inline Moments moments(const T* data, const Slice& s, const Context& c, T running_mean) {
  Moments m = moments_around(data, s, c, running_mean);
  const double distance = m.mean - running_mean;
  return distance * distance <= m.variance ? m : moments_around(data, s, c, T(m.mean));
}

// y = norm(x), then ReLU if asked, stored in `out` or added to it. `weights`, `bias`: offsets of the
// parameters; `running`: mean, then variance; `saved`: mean, then 1 / standard deviation.
inline void norm_forward(const Context& c, const Map& x, const Map& y, int64_t weights, int64_t bias,
                         int64_t running, int64_t saved, bool per_joint, bool add, bool with_relu) {
  auto all = slices(x, c.lanes, per_joint);
  int64_t n = int64_t(all.size());
  for (const Slice& s : all) {
    const T* in = x.data + s.channel * x.stride;
    T* out = y.data + s.channel * y.stride;
    T& running_mean = c.running[running + s.parameter];
    T& running_variance = c.running[running + n + s.parameter];
    double mean = running_mean, variance = running_variance;
    if (c.training) {
      Moments m = moments(in, s, c, running_mean);
      mean = m.mean, variance = m.variance;
      running_mean += T(RUNNING_MOMENTUM * (mean - running_mean));
      double unbiased = variance * m.count / (m.count - 1);
      running_variance += T(RUNNING_MOMENTUM * (unbiased - running_variance));
    }
    double inverse = 1 / std::sqrt(variance + EPS);
    c.saved[saved + s.parameter] = T(mean);
    c.saved[saved + n + s.parameter] = T(inverse);
    double slope = c.parameters[weights + s.parameter] * inverse;
    const Vec scale = splat(T(slope)), shift = splat(c.parameters[bias + s.parameter]);
    const Vec centre = splat(T(mean));
    auto value = [&](int64_t i) { return (load(in + i) - centre) * scale + shift; };
    if (add)
      each(s, [&](int64_t i) { store(out + i, load(out + i) + value(i)); });
    else if (with_relu)
      each(s, [&](int64_t i) { store(out + i, relu(value(i))); });
    else
      each(s, [&](int64_t i) { store(out + i, value(i)); });
  }
}

// Replaces x, the norm's input, by its gradient. With `parameters_only` x is left as it is.
inline void norm_backward(const Context& c, const Map& x, const Map& gradient, int64_t weights,
                          int64_t bias, int64_t saved, bool per_joint, bool parameters_only) {
  auto all = slices(x, c.lanes, per_joint);
  auto mask = lane_mask(c);
  int64_t n = int64_t(all.size());
  for (const Slice& s : all) {
    T* in = x.data + s.channel * x.stride;
    const T* dy = gradient.data + s.channel * gradient.stride;
    double mean = c.saved[saved + s.parameter], inverse = c.saved[saved + n + s.parameter];
    Vec centre = splat(T(mean)), sum_dy = {}, sum_dy_x = {};
    each(s, [&](int64_t i) {
      Vec g = load(dy + i);
      sum_dy += g, sum_dy_x += g * (load(in + i) - centre);
    });
    double bias_gradient = sum(sum_dy), weight_gradient = sum(sum_dy_x) * inverse;
    c.gradients[bias + s.parameter] = T(bias_gradient);
    c.gradients[weights + s.parameter] = T(weight_gradient);
    if (parameters_only) continue;
    double count = double(s.rows * s.length) / c.lanes * c.valid;
    double slope = c.parameters[weights + s.parameter] * inverse;
    Vec a = splat(T(slope)), b = splat(T(-slope * inverse * weight_gradient / count)),
        d = splat(T(-slope * bias_gradient / count));
    if (c.valid == c.lanes)
      each(s, [&](int64_t i) {
        store(in + i, load(dy + i) * a + ((load(in + i) - centre) * b + d));
      });
    else
      each(s, [&](int64_t i) {
        Vec v = load(dy + i) * a + ((load(in + i) - centre) * b + d);
        store(in + i, v * mask[i % c.lanes / VL]);
      });
  }
}

// Adds one value per channel to `out`, or stores it.
inline void bias_forward(const Context& c, const Map& out, int64_t bias, bool add) {
  for (int64_t ch = 0; ch < out.channels; ++ch) {
    T* p = out.data + ch * out.stride;
    Vec value = splat(c.parameters[bias + ch]);
    for (int64_t i = 0; i < out.height * out.width * c.lanes; i += VL)
      store(p + i, add ? load(p + i) + value : value);
  }
}

inline void bias_backward(const Context& c, const Map& gradient, int64_t bias) {
  for (int64_t ch = 0; ch < gradient.channels; ++ch) {
    const T* p = gradient.data + ch * gradient.stride;
    Vec total = {};
    for (int64_t i = 0; i < gradient.height * gradient.width * c.lanes; i += VL)
      total += load(p + i);
    c.gradients[bias + ch] = T(sum(total));
  }
}
