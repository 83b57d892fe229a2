#include "kernels/attention/attention.h"

#include "models/ops/ops.h"

namespace spikesink::ops {

Var attention(Pass& pass, Var qkv, const kernels::AttentionDims& dims, std::string_view path) {
  const std::int64_t N = matrix_dims(qkv.value).rows;
  Tensor out = pass.empty({N, dims.out_width()}, qkv.value.dtype());
  Tensor lse = pass.empty({N / dims.length, dims.n_heads, dims.length}, acc_dtype(qkv.value.dtype()));
  const kernels::AttentionForward product{
      .out = out, .lse = lse, .qkv = qkv.value, .starts = pass.batch.document_starts, .dims = dims};
  if (!pass.intervention || !pass.intervention->attention(path, product))
    kernels::attention_forward(pass.stream, product);
  if (pass.intervention) out = pass.intervention->heads(path, out);
  if (pass.observer && pass.mode != Pass::Mode::kRecompute)
    pass.observer->attention(path, {.qkv = qkv.value, .lse = lse, .starts = pass.batch.document_starts, .dims = dims});
  return pass.record(out, [&pass, dims, out, lse, kept = pass.keep(qkv), to_qkv = qkv.grad](Tensor dout) {
    const Tensor rows = kept.get();
    Tensor dqkv = pass.like(rows);
    kernels::attention_backward(pass.stream, {.dqkv = dqkv,
                                              .dout = dout,
                                              .out = out,
                                              .lse = lse,
                                              .qkv = rows,
                                              .starts = pass.batch.document_starts,
                                              .dims = dims});
    to_qkv.add(pass, std::move(dqkv));
  });
}

}  // namespace spikesink::ops
