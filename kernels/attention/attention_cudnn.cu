#include "kernels/attention/attention_cudnn.h"

#ifdef SPIKESINK_HAS_CUDNN

// clang-format off: cudnn_frontend.h forgets this one
#include <cstring>
// clang-format on
#include <cudnn.h>
#include <cudnn_frontend.h>

#include <chrono>
#include <map>
#include <memory>
#include <sstream>
#include <unordered_map>
#include <vector>

#include "io/failure.h"
#include "kernels/core/gpu.h"
#include "kernels/core/shared_library.h"

namespace spikesink::kernels::cuda {
namespace {
namespace fe = cudnn_frontend;

/// Why there is no cuDNN to ask, or empty.
const std::string& absence() {
  static const std::string why = []() -> std::string {
    try {
      (void)cudnnGetVersion();  // opens it: cudnn_functions.cu
      return {};
    } catch (const UsageError& missing) {
      return missing.what();
    }
  }();
  return why;
}

/// What plans depend on: some heads of some sequences, within rows of the whole model's width.
struct Problem {
  std::int64_t B, H, K, D, T, row_width, out_width;
  double scale;
  bool backward, deterministic;
  auto operator<=>(const Problem&) const = default;
};

Problem forward_problem(const AttentionDims& d, std::int64_t B) {
  return {.B = B,
          .H = d.n_heads,
          .K = d.n_kv_heads,
          .D = d.d_head,
          .T = d.length,
          .row_width = d.qkv_width(),
          .out_width = d.out_width(),
          .scale = d.scale,
          .backward = false,
          .deterministic = true};
}
Problem backward_problem(const AttentionDims& d, std::int64_t B, bool deterministic) {
  const CudnnSlice slice = CudnnSlice::of(d, B, deterministic);
  Problem p = forward_problem(d, slice.sequences);
  p.H = slice.kv_heads * (d.n_heads / d.n_kv_heads);
  p.K = slice.kv_heads;
  p.backward = true;
  p.deterministic = deterministic;
  return p;
}

void check(fe::error_t error, const char* call, const Problem& p) {
  if (error.is_good()) [[likely]]
    return;
  std::ostringstream message;
  message << "cuDNN " << version_text(cudnnGetVersion()) << ": " << call << " for " << p.B << " sequences of " << p.T
          << ", " << p.H << " heads of " << p.D << ", " << p.K << " key-value heads" << (p.backward ? ", backward" : "")
          << ": " << error.get_message();
  std::string line = message.str().substr(0, 400);  // of configurations that failed, cuDNN tells each at length
  std::replace(line.begin(), line.end(), '\n', ' ');
  throw CudaError(line);
}
void check(cudnnStatus_t status, const char* call) {
  if (status != CUDNN_STATUS_SUCCESS)
    throw CudaError(std::string("cuDNN ") + version_text(cudnnGetVersion()) + ": " + call + ": " +
                    cudnnGetErrorString(status));
}

enum Uid : std::int64_t { kQ = 1, kK, kV, kOut, kLse, kDout, kDq, kDk, kDv };
using Pointers = std::unordered_map<std::int64_t, void*>;

/// One plan. Built with the handle, or without a GPU by its properties.
class Plan {
 public:
  Plan(cudnnHandle_t handle, std::shared_ptr<const fe::DeviceProperties> properties, const Problem& p) : p_(p) {
    graph_.set_io_data_type(fe::DataType_t::BFLOAT16)
        .set_intermediate_data_type(fe::DataType_t::FLOAT)
        .set_compute_data_type(fe::DataType_t::FLOAT);
    if (properties) graph_.set_device_properties(properties).set_sm_version(90);
    const std::int64_t qkv = p.row_width, out = p.out_width;
    const auto q = tensor("q", kQ, p.H, qkv), k = tensor("k", kK, p.K, qkv), v = tensor("v", kV, p.K, qkv);
    const auto scale = static_cast<float>(p.scale);
    if (!p.backward) {
      auto options = fe::graph::SDPA_attributes().set_name("attention").set_generate_stats(true);
      options.set_causal_mask(true).set_attn_scale(scale);
      const auto [o, lse] = graph_.sdpa(q, k, v, options);
      give(o, kOut, p.H, out);
      lse->set_output(true)
          .set_uid(kLse)
          .set_data_type(fe::DataType_t::FLOAT)
          .set_dim(lse_dim())
          .set_stride(lse_stride());
    } else {
      const auto o = tensor("out", kOut, p.H, out), dout = tensor("dout", kDout, p.H, out);
      const auto lse = graph_.tensor(fe::graph::Tensor_attributes()
                                         .set_name("lse")
                                         .set_uid(kLse)
                                         .set_data_type(fe::DataType_t::FLOAT)
                                         .set_dim(lse_dim())
                                         .set_stride(lse_stride()));
      auto options = fe::graph::SDPA_backward_attributes().set_name("attention_backward");
      options.set_causal_mask(true).set_attn_scale(scale).set_deterministic_algorithm(p.deterministic);
      const auto [dq, dk, dv] = graph_.sdpa_backward(q, k, v, o, dout, lse, options);
      give(dq, kDq, p.H, qkv);
      give(dk, kDk, p.K, qkv);
      give(dv, kDv, p.K, qkv);
    }
    check(graph_.validate(), "validate", p);
    check(handle ? graph_.build_operation_graph(handle) : graph_.build_operation_graph(), "build_operation_graph", p);
    check(graph_.create_execution_plans({fe::HeurMode_t::A}), "create_execution_plans", p);
    check(graph_.check_support(), "check_support", p);
    check(graph_.build_plans(), "build_plans", p);
    check(graph_.get_workspace_size(bytes_), "get_workspace_size", p);
  }

  std::int64_t bytes() const { return bytes_; }

  void run(cudnnHandle_t handle, Pointers pointers, void* workspace) {
    check(graph_.execute(handle, pointers, workspace), "execute", p_);
  }

 private:
  std::vector<std::int64_t> dim(std::int64_t heads) const { return {p_.B, heads, p_.T, p_.D}; }
  std::vector<std::int64_t> stride(std::int64_t width) const { return {p_.T * width, p_.D, width, 1}; }
  std::vector<std::int64_t> lse_dim() const { return {p_.B, p_.H, p_.T, 1}; }
  std::vector<std::int64_t> lse_stride() const { return {p_.out_width / p_.D * p_.T, p_.T, 1, 1}; }

  std::shared_ptr<fe::graph::Tensor_attributes> tensor(const char* name, Uid uid, std::int64_t heads,
                                                       std::int64_t width) {
    return graph_.tensor(
        fe::graph::Tensor_attributes().set_name(name).set_uid(uid).set_dim(dim(heads)).set_stride(stride(width)));
  }
  void give(const std::shared_ptr<fe::graph::Tensor_attributes>& t, Uid uid, std::int64_t heads, std::int64_t width) {
    t->set_output(true).set_uid(uid).set_dim(dim(heads)).set_stride(stride(width));
  }

  Problem p_;
  fe::graph::Graph graph_;
  std::int64_t bytes_ = 0;
};

/// What cuDNN keeps for a stream: by problem its plan, or why there is none. Each is asked for once.
class Cudnn {
 public:
  struct Built {
    std::unique_ptr<Plan> plan;
    std::string failure;  ///< where there is no plan
  };

  explicit Cudnn(void* stream) : stream_(static_cast<cudaStream_t>(stream)) {}

  cudnnHandle_t handle() {
    if (!handle_) {
      cudnnHandle_t handle = nullptr;
      check(cudnnCreate(&handle), "cudnnCreate");
      handle_.reset(handle);
      check(cudnnSetStream(handle, stream_), "cudnnSetStream");
    }
    return handle_.get();
  }

  const Built& built(const Problem& p) {
    const auto [at, is_new] = built_.try_emplace(p);
    if (!is_new) return at->second;
    const auto start = std::chrono::steady_clock::now();
    try {
      at->second.plan = std::make_unique<Plan>(handle(), nullptr, p);
    } catch (const CudaError& error) {
      at->second.failure = error.what();
    }
    ++builds.count;
    builds.seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return at->second;
  }
  Plan& plan(const Problem& p) {
    const Built& known = built(p);
    if (!known.plan) throw CudaError(known.failure);
    return *known.plan;
  }

  CudnnBuilds builds;

 private:
  struct Destroy {
    void operator()(cudnnHandle_t handle) const { (void)cudnnDestroy(handle); }
  };
  cudaStream_t stream_;
  std::unique_ptr<std::remove_pointer_t<cudnnHandle_t>, Destroy> handle_;
  std::map<Problem, Built> built_;
};

Cudnn& library(const Stream& stream) { return stream.libraries->get<Cudnn>(stream.native.get()); }

/// A tensor's element as cuDNN takes it.
void* at(const Tensor& t, std::int64_t element) { return t.raw() + element * size_of(t.dtype()); }

void require_bytes(const Plan& plan, std::int64_t bytes) {
  require(plan.bytes() <= bytes, "cuDNN asks for ", plan.bytes(), " bytes of workspace, counted were ", bytes);
}
}  // namespace

std::string cudnn_refusal(const Stream& stream, const AttentionDims& dims, std::int64_t B, DType dtype,
                          bool with_starts) {
  if (std::string why = cudnn_refusal(dims, dtype, with_starts, stream.deterministic); !why.empty()) return why;
  if (!absence().empty() || stream.dry || B == 0) return absence();
  for (const Problem& p : {forward_problem(dims, B), backward_problem(dims, B, stream.deterministic)}) {
    const Cudnn::Built& built = library(stream).built(p);
    if (!built.plan) return built.failure;
    if (built.plan->bytes() > cudnn_attention_bytes(dims, B * dims.length, p.backward, stream.deterministic))
      return "cuDNN's workspace, " + std::to_string(built.plan->bytes()) + " bytes";
  }
  return {};
}

void cudnn_attention_forward(const Stream& stream, const AttentionForward& a, Scratch scratch) {
  const AttentionDims& d = a.dims;
  const std::int64_t N = a.qkv.shape()[0], bytes = cudnn_attention_bytes(d, N, false, stream.deterministic);
  if (N == 0) return;
  Plan& plan = library(stream).plan(forward_problem(d, N / d.length));
  require_bytes(plan, bytes);
  plan.run(library(stream).handle(),
           {{kQ, at(a.qkv, 0)},
            {kK, at(a.qkv, d.n_heads * d.d_head)},
            {kV, at(a.qkv, (d.n_heads + d.n_kv_heads) * d.d_head)},
            {kOut, at(a.out, 0)},
            {kLse, at(a.lse, 0)}},
           scratch.take<std::byte>(bytes));
}

void cudnn_attention_backward(const Stream& stream, const AttentionBackward& a, Scratch scratch) {
  const AttentionDims& d = a.dims;
  const std::int64_t N = a.qkv.shape()[0], B = N / d.length,
                     bytes = cudnn_attention_bytes(d, N, true, stream.deterministic);
  if (N == 0) return;
  Plan& plan = library(stream).plan(backward_problem(d, B, stream.deterministic));
  require_bytes(plan, bytes);
  void* const workspace = scratch.take<std::byte>(bytes);
  for_slices(CudnnSlice::of(d, B, stream.deterministic), d, B, [&](const CudnnOffsets& begin) {
    plan.run(library(stream).handle(),
             {{kQ, at(a.qkv, begin.q)},
              {kK, at(a.qkv, begin.k)},
              {kV, at(a.qkv, begin.v)},
              {kOut, at(a.out, begin.out)},
              {kDout, at(a.dout, begin.out)},
              {kLse, at(a.lse, begin.lse)},
              {kDq, at(a.dqkv, begin.q)},
              {kDk, at(a.dqkv, begin.k)},
              {kDv, at(a.dqkv, begin.v)}},
             workspace);
  });
}

CudnnBuilds cudnn_builds(const Stream& stream) { return library(stream).builds; }

std::string cudnn_device_properties(const Stream& /*whose GPU is the current one*/) {
  if (!absence().empty()) return {};
  fe::DeviceProperties properties;
  std::vector<std::uint8_t> text;
  const auto done = [](fe::error_t error) {
    if (error.is_bad()) throw CudaError("cuDNN: device properties: " + error.get_message());
  };
  int index = 0;
  if (const cudaError_t status = cudaGetDevice(&index); status != cudaSuccess)
    throw CudaError(std::string("cudaGetDevice: ") + cudaGetErrorString(status));
  done(properties.set_device_id(index).build());
  done(properties.serialize(text));
  return {text.begin(), text.end()};
}

std::int64_t cudnn_plan_bytes(const std::string& device_properties, const AttentionDims& dims, std::int64_t B,
                              bool backward, bool deterministic) {
  const auto properties = std::make_shared<fe::DeviceProperties>();
  if (fe::error_t error = properties->deserialize({device_properties.begin(), device_properties.end()}); error.is_bad())
    throw CudaError("cuDNN: device properties: " + error.get_message());
  return Plan(nullptr, properties, backward ? backward_problem(dims, B, deterministic) : forward_problem(dims, B))
      .bytes();
}

}  // namespace spikesink::kernels::cuda

#else  // a build without cuDNN

namespace spikesink::kernels::cuda {
namespace {
constexpr const char* kAbsent = "a build without cuDNN";
}

std::string cudnn_refusal(const Stream&, const AttentionDims&, std::int64_t, DType, bool) { return kAbsent; }
void cudnn_attention_forward(const Stream&, const AttentionForward&, Scratch) { require(false, kAbsent); }
void cudnn_attention_backward(const Stream&, const AttentionBackward&, Scratch) { require(false, kAbsent); }
CudnnBuilds cudnn_builds(const Stream&) { return {}; }
std::string cudnn_device_properties(const Stream&) { return {}; }
std::int64_t cudnn_plan_bytes(const std::string&, const AttentionDims&, std::int64_t, bool, bool) { return 0; }

}  // namespace spikesink::kernels::cuda

#endif
