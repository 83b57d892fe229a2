#include "kernels/attention/attention_cudnn.h"

#include "tests/kernels/support.h"

using namespace spikesink;
using namespace spikesink::test;
using Catch::Contains;
using kernels::AttentionDims;
using kernels::cuda::CudnnSlice;

namespace {
AttentionDims dims_of(std::int64_t H, std::int64_t K, std::int64_t D, std::int64_t T) {
  return {.n_heads = H, .n_kv_heads = K, .d_head = D, .length = T, .scale = 1 / std::sqrt(static_cast<double>(D))};
}

Tensor in_f64(const Tensor& t) { return from_values(t.shape(), DType::kF64, values(t)); }
}  // namespace

TEST_CASE("attention by cuDNN is the CPU's, forward and backward, in slices too", "[kernels][attention][cuda]") {
  if (!has_gpu()) return skipped();
  Stream stream = cuda_stream();
  stream.deterministic = GENERATE(true, false);
  // Under emulation the backward of the second goes head by head, that of the last sequence by sequence.
  const auto [B, H, K, D, T] =
      GENERATE(table<std::int64_t, std::int64_t, std::int64_t, std::int64_t, std::int64_t>({{1, 1, 1, 64, 64},
                                                                                            {2, 4, 2, 64, 130},
                                                                                            {1, 2, 1, 128, 65},
                                                                                            {3, 3, 3, 64, 64},
                                                                                            {2, 4, 2, 8, 100},
                                                                                            {1, 2, 2, 16, 64},
                                                                                            {1, 2, 1, 80, 130},
                                                                                            {1, 2, 1, 256, 130}}));
  const AttentionDims d = dims_of(H, K, D, T);
  CAPTURE(B, H, K, D, T, stream.deterministic);
  if (kCudaEmulated && D != 64 && D != 128) return;  // the stand-in has these alone
  if (const std::string why = kernels::cuda::cudnn_refusal(stream, d, B, DType::kBF16, false); !why.empty())
    return skipped(why);
  const std::int64_t N = B * T;
  const Tensor host_qkv = random({N, d.qkv_width()}, DType::kBF16, 1),
               host_dout = random({N, d.out_width()}, DType::kBF16, 2);
  const Tensor qkv = on(stream, host_qkv), dout = on(stream, host_dout);
  const auto run = [&, B = B, H = H, T = T] {
    const Tensor o = on(stream, poisoned({N, d.out_width()}, DType::kBF16)),
                 l = on(stream, poisoned({B, H, T}, DType::kF32)),
                 back = on(stream, poisoned({N, d.qkv_width()}, DType::kBF16));
    const auto scratch = [&](bool backward) {
      return stream.empty({kernels::cuda::cudnn_attention_bytes(d, N, backward, stream.deterministic)}, DType::kU8);
    };
    const Tensor forward = scratch(false), backward = scratch(true);
    kernels::cuda::cudnn_attention_forward(stream, {.out = o, .lse = l, .qkv = qkv, .starts = {}, .dims = d},
                                           kernels::Scratch(forward.raw()));
    kernels::cuda::cudnn_attention_backward(
        stream, {.dqkv = back, .dout = dout, .out = o, .lse = l, .qkv = qkv, .starts = {}, .dims = d},
        kernels::Scratch(backward.raw()));
    return std::array{o, l, back};
  };
  const auto [out, lse, dqkv] = stream.deterministic ? repeated(stream, run) : run();

  const Stream cpu = Stream::cpu(1);
  const Tensor x = in_f64(host_qkv), g = in_f64(host_dout), want_out = poisoned({N, d.out_width()}, DType::kF64),
               want_lse = poisoned({B, H, T}, DType::kF64), want_dqkv = poisoned({N, d.qkv_width()}, DType::kF64);
  kernels::attention_forward(cpu, {.out = want_out, .lse = want_lse, .qkv = x, .starts = {}, .dims = d});
  kernels::attention_backward(
      cpu, {.dqkv = want_dqkv, .dout = g, .out = want_out, .lse = want_lse, .qkv = x, .starts = {}, .dims = d});
  check_close(lse, values(want_lse), 64);
  // Probabilities and their gradients pass through bf16 inside of cuDNN: each term errs by half a unit. The first key
  // and value gather from T queries and from all heads of a group.
  check_close(out, values(want_out), 2);
  check_close(dqkv, values(want_dqkv), 4, 2);
}

TEST_CASE("slices of cuDNN's backward are of one size, and as large as their memory lets them",
          "[kernels][attention]") {
  if (kCudaEmulated) return skipped("slices are small under emulation");
  const auto slice = [](const AttentionDims& d, std::int64_t B) {
    const CudnnSlice s = CudnnSlice::of(d, B, /*deterministic=*/true);
    CHECK(CudnnSlice::of(d, B, /*deterministic=*/false).kv_heads == d.n_kv_heads);
    CHECK(B % s.sequences == 0);
    CHECK(d.n_kv_heads % s.kv_heads == 0);
    return std::array{s.sequences, s.kv_heads};
  };
  CHECK(slice(dims_of(8, 8, 64, 1024), 16) == std::array<std::int64_t, 2>{16, 8});
  CHECK(slice(dims_of(32, 32, 128, 2048), 4) == std::array<std::int64_t, 2>{2, 32});
  CHECK(slice(dims_of(32, 8, 128, 4096), 2) == std::array<std::int64_t, 2>{1, 4});
  CHECK(slice(dims_of(32, 8, 128, 16384), 1) == std::array<std::int64_t, 2>{1, 1});
}

TEST_CASE("cuDNN is not asked for what it does not have, and the reason is said", "[kernels][attention]") {
  using kernels::cuda::cudnn_refusal;
  CHECK(cudnn_refusal(dims_of(8, 2, 64, 1024), DType::kBF16, false, true).empty());
  CHECK(cudnn_refusal(dims_of(8, 2, 64, 1024), DType::kF32, false, true) == "f32");
  CHECK(cudnn_refusal(dims_of(8, 2, 64, 1024), DType::kBF16, true, true) == "document mask");
  CHECK(cudnn_refusal(dims_of(8, 2, 12, 1024), DType::kBF16, false, true) == "d_head 12");
  CHECK(cudnn_refusal(dims_of(8, 2, 264, 1024), DType::kBF16, false, true) == "d_head 264");
  CHECK_THAT(cudnn_refusal(dims_of(8, 2, 64, 32768), DType::kBF16, false, true), Contains("8 GiB"));
  CHECK(cudnn_refusal(dims_of(8, 2, 64, 32768), DType::kBF16, false, false).empty());
}
