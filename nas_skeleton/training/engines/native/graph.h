// The sum over a skeleton's neighbours in K subsets, and the bias that follows the projection.
//
// y[k * C + c, t, w] = sum over v of x[c, t, v] * A[k, v, w] with A = adjacency * importance, or the
// adjacency alone where the offset of the importance is negative. Only the pairs (k, v, w) that are
// connected are visited. The projection after it is a 1x1 convolution; its bias b[k, o] becomes b'[o, w] = sum over k of b[k, o] * (sum over v of A[k, v, w]).
#pragma once

#include "maps.h"

struct Links {  // the connected pairs, `count` rows of (k, v, w) and their adjacency
  const int64_t* ends;
  const double* adjacency;
  int64_t count, subsets, joints;
  int64_t k(int64_t i) const { return ends[3 * i]; }
  int64_t v(int64_t i) const { return ends[3 * i + 1]; }
  int64_t w(int64_t i) const { return ends[3 * i + 2]; }
  int64_t at(int64_t i) const { return (k(i) * joints + v(i)) * joints + w(i); }  // in importance
};

inline std::vector<T> link_weights(const Context& c, const Links& links, int64_t importance) {
  std::vector<T> weights(links.count);
  for (int64_t i = 0; i < links.count; ++i)
    weights[i] = T(links.adjacency[i] *
                   (importance < 0 ? T(1) : c.parameters[importance + links.at(i)]));
  return weights;
}

inline void graph_forward(const Context& c, const Map& in, const Map& out, const Links& links,
                          int64_t importance) {
  auto weights = link_weights(c, links, importance);
  const int64_t row = in.width * c.lanes;
  for (int64_t ch = 0; ch < in.channels; ++ch)
    for (int64_t t = 0; t < in.height; ++t) {
      for (int64_t k = 0; k < links.subsets; ++k)
        std::memset(out.data + (k * in.channels + ch) * out.stride + t * row, 0, row * sizeof(T));
      const T* x = in.data + ch * in.stride + t * row;
      for (int64_t i = 0; i < links.count; ++i) {
        T* y = out.data + (links.k(i) * in.channels + ch) * out.stride + t * row +
               links.w(i) * c.lanes;
        const T* from = x + links.v(i) * c.lanes;
        for (int64_t l = 0; l < c.lanes; l += VL) store(y + l, load(y + l) + weights[i] * load(from + l));
      }
    }
}

// Gradients of the input and, if there is one, of the importance, which adds to what
// `graph_bias_backward` stored.
inline void graph_backward(const Context& c, const Map& in, const Map& gradient, const Links& links,
                           int64_t importance, const Sink& sink) {
  auto weights = link_weights(c, links, importance);
  const int64_t row = in.width * c.lanes;
  std::vector<Vec> sums(links.count), dx(row / VL);
  for (int64_t ch = 0; ch < in.channels; ++ch)
    for (int64_t t = 0; t < in.height; ++t) {
      std::fill(dx.begin(), dx.end(), Vec{});
      const T* x = in.data + ch * in.stride + t * row;
      for (int64_t i = 0; i < links.count; ++i) {
        const T* dy = gradient.data + (links.k(i) * in.channels + ch) * gradient.stride + t * row +
                      links.w(i) * c.lanes;
        const int64_t from = links.v(i) * c.lanes;
        for (int64_t l = 0; l < c.lanes; l += VL) {
          Vec g = load(dy + l);
          if (importance >= 0) sums[i] += g * load(x + from + l);
          dx[(from + l) / VL] += weights[i] * g;
        }
      }
      for (int64_t i = 0; i < row; i += VL) sink.put(ch, t * row + i, dx[i / VL]);
    }
  for (int64_t i = 0; importance >= 0 && i < links.count; ++i)
    c.gradients[importance + links.at(i)] += T(links.adjacency[i] * sum(sums[i]));
}

// Sum over v of A[k, v, w], at [k * joints + w].
inline std::vector<double> incoming(const Links& links, const std::vector<T>& weights) {
  std::vector<double> sums(links.subsets * links.joints);
  for (int64_t i = 0; i < links.count; ++i)
    sums[links.k(i) * links.joints + links.w(i)] += weights[i];
  return sums;
}

inline void graph_bias_forward(const Context& c, const Map& out, const Links& links,
                               int64_t importance, int64_t bias) {
  auto sums = incoming(links, link_weights(c, links, importance));
  for (int64_t o = 0; o < out.channels; ++o)
    for (int64_t w = 0; w < links.joints; ++w) {
      double value = 0;
      for (int64_t k = 0; k < links.subsets; ++k)
        value += c.parameters[bias + k * out.channels + o] * sums[k * links.joints + w];
      for (int64_t t = 0; t < out.height; ++t) {
        T* p = out.data + o * out.stride + (t * out.width + w) * c.lanes;
        for (int64_t l = 0; l < c.lanes; l += VL) store(p + l, load(p + l) + splat(T(value)));
      }
    }
}

inline void graph_bias_backward(const Context& c, const Map& gradient, const Links& links,
                                int64_t importance, int64_t bias) {
  auto sums = incoming(links, link_weights(c, links, importance));
  const int64_t O = gradient.channels, V = links.joints;
  std::vector<double> per_joint(O * V);
  for (int64_t o = 0; o < O; ++o)
    for (int64_t w = 0; w < V; ++w) {
      Vec total = {};
      for (int64_t t = 0; t < gradient.height; ++t) {
        const T* p = gradient.data + o * gradient.stride + (t * gradient.width + w) * c.lanes;
        for (int64_t l = 0; l < c.lanes; l += VL) total += load(p + l);
      }
      per_joint[o * V + w] = sum(total);
    }
  std::vector<double> to_links(links.subsets * V);
  for (int64_t k = 0; k < links.subsets; ++k)
    for (int64_t o = 0; o < O; ++o) {
      double total = 0;
      for (int64_t w = 0; w < V; ++w) {
        total += per_joint[o * V + w] * sums[k * V + w];
        to_links[k * V + w] += per_joint[o * V + w] * c.parameters[bias + k * O + o];
      }
      c.gradients[bias + k * O + o] = T(total);
    }
  for (int64_t i = 0; i < links.count; ++i)
    c.gradients[importance + links.at(i)] =
        T(links.adjacency[i] * to_links[links.k(i) * V + links.w(i)]);
}
