// A program: the operations of one network in order, each a code and integers.
//
// Built by program.py, which names maps and parameters; here each operation finds its kernel.
#include <algorithm>
#include <type_traits>

#include "maps.h"
#include "actional.h"
#include "convolution.h"
#include "graph.h"
#include "norm.h"
#include "pool.h"

namespace {

// From (batch, channels, frames, width, bodies) of the inputs to (channels, height, width, lanes):
// the channels from `first` on, and the first frames.
void gather(const Context& c, const Map& out, int64_t first, int64_t channels, int64_t frames) {
  const int64_t channel = frames * out.width * c.bodies, clip = channels * channel;
  for (int64_t ch = 0; ch < out.channels; ++ch)
    for (int64_t i = 0; i < out.height * out.width; ++i) {
      T* p = out.data + ch * out.stride + i * c.lanes;
      const T* x = c.inputs + (first + ch) * channel + i * c.bodies;
      for (int64_t l = 0; l < c.lanes; ++l)
        p[l] = l < c.valid ? x[l / c.bodies * clip + l % c.bodies] : T(0);
    }
}

// Mean over positions and bodies, linear classifier, softmax cross-entropy (mean over the batch).
// Writes logits; in training also the loss, the classifier's gradients, and the gradient of `in`
// (an output of a ReLU) into `sink`.
void head(const Context& c, const Map& in, int64_t weights, int64_t bias, const Map* gradient) {
  const int64_t C = in.channels, K = c.classes, positions = in.height * in.width;
  std::vector<double> features(c.batch * C), errors(c.batch * K);
  for (int64_t ch = 0; ch < C; ++ch) {
    std::vector<Vec> total(c.lanes / VL);
    for (int64_t i = 0; i < positions * c.lanes; i += VL)
      total[i % c.lanes / VL] += load(in.data + ch * in.stride + i);
    for (int64_t l = 0; l < c.valid; ++l)
      features[l / c.bodies * C + ch] += total[l / VL][l % VL] / double(positions * c.bodies);
  }
  for (int64_t n = 0; n < c.batch; ++n) {
    double* e = &errors[n * K];
    for (int64_t k = 0; k < K; ++k) {
      e[k] = c.parameters[bias + k];
      for (int64_t ch = 0; ch < C; ++ch)
        e[k] += c.parameters[weights + k * C + ch] * features[n * C + ch];
      if (c.logits) c.logits[n * K + k] = T(e[k]);
    }
    if (!gradient) continue;
    double highest = *std::max_element(e, e + K), total = 0;
    for (int64_t k = 0; k < K; ++k) total += std::exp(e[k] - highest);
    const int64_t label = c.labels[n];
    *c.loss_sum += highest + std::log(total) - e[label];
    for (int64_t k = 0; k < K; ++k)
      e[k] = (std::exp(e[k] - highest) / total - (k == label)) / double(c.batch);
  }
  if (!gradient) return;
  for (int64_t k = 0; k < K; ++k) {
    double total = 0;
    for (int64_t n = 0; n < c.batch; ++n) total += errors[n * K + k];
    c.gradients[bias + k] = T(total);
    for (int64_t ch = 0; ch < C; ++ch) {
      double product = 0;
      for (int64_t n = 0; n < c.batch; ++n) product += errors[n * K + k] * features[n * C + ch];
      c.gradients[weights + k * C + ch] = T(product);
    }
  }
  Sink sink(*gradient);
  sink.mask = in.data, sink.mask_stride = in.stride;
  for (int64_t ch = 0; ch < C; ++ch) {
    std::vector<Vec> value(c.lanes / VL);
    for (int64_t l = 0; l < c.valid; ++l) {
      double total = 0;
      for (int64_t k = 0; k < K; ++k)
        total += errors[l / c.bodies * K + k] * c.parameters[weights + k * C + ch];
      value[l / VL][l % VL] = T(total / double(positions * c.bodies));
    }
    for (int64_t i = 0; i < positions * c.lanes; i += VL)
      sink.put(ch, i, value[i % c.lanes / VL]);
  }
}

// torch.optim.SGD: g += decay * p; buffer = momentum * buffer + g; p -= rate * (buffer, or with
// Nesterov g + momentum * buffer).
void sgd(const Context& c) {
  const T decay = T(c.weight_decay), momentum = T(c.momentum_factor), rate = T(c.learning_rate);
  for (int64_t i = 0; i < c.parameter_count; ++i) {
    T g = c.gradients[i] + decay * c.parameters[i];
    T buffer = c.momentum[i] = momentum * c.momentum[i] + g;
    c.parameters[i] -= rate * (c.nesterov ? g + momentum * buffer : buffer);
  }
}

}  // namespace

constexpr int64_t FIELDS = 16;

enum Code : int64_t {  // the same order as in program.py
  GATHER, CONVOLUTION, CONVOLUTION_INPUT, CONVOLUTION_WEIGHTS, NORM, NORM_BACKWARD, BIAS,
  BIAS_BACKWARD, POOL, POOL_BACKWARD, REDUCE, REDUCE_BACKWARD, RELU, COPY, ZERO, GRAPH,
  GRAPH_BACKWARD, GRAPH_BIAS, GRAPH_BIAS_BACKWARD, ACTIONAL, ACTIONAL_BACKWARD, HEAD, SGD,
};

extern "C" int64_t lane_multiple() { return VL; }
extern "C" int64_t fields() { return FIELDS; }
extern "C" int64_t codes() { return SGD + 1; }

extern "C" void run(const Context* context, const int64_t* program, int64_t count) {
  const Context& c = *context;
  const Map* m = c.maps;
  for (; count > 0; --count, program += FIELDS) {
    const int64_t* a = program + 1;
    auto sink = [&](int i) { return Sink(m, a[i], a[i + 1], a[i + 2]); };
    auto shape = [&](int i) { return Shape{a[i], a[i + 1], a[i + 2], a[i + 3]}; };
    auto links = [&](int i) {
      return Links{reinterpret_cast<const int64_t*>(a[i]), reinterpret_cast<const double*>(a[i + 1]),
                   a[i + 2], a[i + 3], a[i + 4]};
    };
    auto real = [](int64_t bits) {
      double value;
      std::memcpy(&value, &bits, sizeof value);
      return T(value);
    };
    switch (program[0]) {
      case GATHER: gather(c, m[a[0]], a[1], a[2], a[3]); break;
      case CONVOLUTION:
        convolution_forward(m[a[0]], m[a[1]], c.lanes, c.parameters + a[2],
                            a[3] < 0 ? nullptr : c.parameters + a[3], shape(4), a[8]);
        break;
      case CONVOLUTION_INPUT:
        convolution_input_gradient(m[a[0]], m[a[1]], c.lanes, c.parameters + a[2], shape(3),
                                   sink(7));
        break;
      case CONVOLUTION_WEIGHTS:
        convolution_weight_gradient(m[a[0]], m[a[1]], c.lanes, shape(3), c.gradients + a[2]);
        break;
      case NORM:
        norm_forward(c, m[a[0]], m[a[1]], a[2], a[3], a[4], a[5], a[6], a[7], a[8]);
        break;
      case NORM_BACKWARD:
        norm_backward(c, m[a[0]], m[a[1]], a[2], a[3], a[4], a[5], a[6]);
        break;
      case BIAS: bias_forward(c, m[a[0]], a[1], a[2]); break;
      case BIAS_BACKWARD: bias_backward(c, m[a[0]], a[1]); break;
      case POOL: pool_forward(m[a[0]], m[a[1]], c.lanes, a[2], a[3]); break;
      case POOL_BACKWARD: pool_backward(m[a[0]], c.lanes, sink(1), a[4]); break;
      case REDUCE: reduce_forward(m[a[0]], m[a[1]], c.lanes, a[2], a[3]); break;
      case REDUCE_BACKWARD:
        reduce_backward(m[a[0]], m[a[1]], c.lanes, a[2], a[3], sink(4));
        break;
      case RELU: relu_forward(m[a[0]], m[a[1]], c.lanes); break;
      case COPY: copy(m[a[0]], c.lanes, sink(1)); break;
      case ZERO: fill_zero(m[a[0]], c.lanes); break;
      case GRAPH: graph_forward(c, m[a[0]], m[a[1]], links(2), a[7]); break;
      case GRAPH_BACKWARD: graph_backward(c, m[a[0]], m[a[1]], links(2), a[7], sink(8)); break;
      case GRAPH_BIAS: graph_bias_forward(c, m[a[0]], links(1), a[6], a[7]); break;
      case GRAPH_BIAS_BACKWARD: graph_bias_backward(c, m[a[0]], links(1), a[6], a[7]); break;
      case ACTIONAL: actional_forward(m[a[0]], m[a[1]], m[a[2]], c.lanes, a[3], real(a[4])); break;
      case ACTIONAL_BACKWARD:
        actional_backward(m[a[0]], m[a[1]], m[a[2]], c.lanes, a[3], real(a[4]), sink(5));
        break;
      case HEAD:
        head(c, m[a[0]], a[1], a[2], c.training ? &m[a[3]] : nullptr);
        break;
      case SGD: sgd(c); break;
    }
  }
}
