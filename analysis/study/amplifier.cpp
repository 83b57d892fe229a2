#include "analysis/study/amplifier.h"

#include <algorithm>
#include <cmath>

#include "analysis/study/passes.h"
#include "analysis/study/products.h"

namespace spikesink {
namespace {
constexpr std::int64_t kRows = 512;     // of an F x F matrix at a time
constexpr std::int64_t kLanczos = 128;  // products at most

/// sum over rows i of P[i,k] Wdown[k,i], P = (a o b) Wdown^T, added to sums (C); rows begin at `first`.
void add_forms(const Stream& stream, const Tensor& a, const Tensor& b, const Tensor& down,
               const std::vector<double>& down_values, std::int64_t first, std::vector<double>& sums) {
  const auto [rows, F] = matrix_dims(a);
  auto both = host_values(stream, a);
  const auto other = host_values(stream, b);
  for (std::size_t i = 0; i < both.size(); ++i) both[i] *= other[i];
  const auto P = product(stream, both, down);
  const auto C = std::ssize(sums);
  for (std::int64_t i = 0; i < rows; ++i)
    for (std::int64_t k = 0; k < C; ++k)
      sums[static_cast<std::size_t>(k)] +=
          P[static_cast<std::size_t>(i * C + k)] * down_values[static_cast<std::size_t>(k * F + first + i)];
}
}  // namespace

Amplifier::Amplifier(const Study& study, std::size_t block)
    : stream_(study.stream), C_(study.model.config().d_model), F_(study.model.config().ffn.hidden(C_)) {
  const BlockPaths& paths = study.model.blocks()[block];
  scale_ = paths.input_norm.empty() ? std::vector<double>(static_cast<std::size_t>(C_), 1)
                                    : host_values(stream_, parameter(study.model, paths.input_norm + ".weight"));
  const auto weight = [&](const char* name) { return parameter(study.model, paths.branch + name); };
  auto rows = host_values(stream_, weight(".gate_proj.weight"));
  const auto up = host_values(stream_, weight(".up_proj.weight"));
  rows.insert(rows.end(), up.begin(), up.end());
  for (std::size_t i = 0; i < rows.size(); ++i) rows[i] *= scale_[i % scale_.size()];
  const DType dtype = acc_dtype(weight(".gate_proj.weight").dtype());
  gate_up_ = to_device(stream_, rows, {2 * F_, C_}, dtype);
  gate_up_t_ = transposed(stream_, gate_up_);
  down_ = scaled_columns(stream_, weight(".down_proj.weight"), {});
}

std::vector<double> Amplifier::down(std::int64_t channel) const { return host_row(stream_, down_, channel); }

Amplifier::Norms Amplifier::norms() const {
  const Tensor gate = gate_up_.slice(0, {F_, C_}), up = gate_up_.slice(F_ * C_, {F_, C_});
  const auto down_values = host_values(stream_, down_);
  std::vector<double> straight(static_cast<std::size_t>(C_)), crossed(straight.size());
  for (std::int64_t first = 0; first < F_; first += kRows) {
    const std::int64_t rows = std::min(kRows, F_ - first);
    const Tensor g = gate.slice(first * C_, {rows, C_}), u = up.slice(first * C_, {rows, C_});
    add_forms(stream_, product(stream_, g, gate), product(stream_, u, up), down_, down_values, first, straight);
    add_forms(stream_, product(stream_, u, gate), product(stream_, g, up), down_, down_values, first, crossed);
  }
  Norms out;
  for (std::size_t k = 0; k < straight.size(); ++k) {
    out.u.push_back(std::sqrt(std::max(straight[k], 0.0)));
    out.s.push_back(std::sqrt(std::max((straight[k] + crossed[k]) / 2, 0.0)));
  }
  return out;
}

std::vector<Eigenpairs> Amplifier::eigenpairs(const std::vector<std::int64_t>& channels, std::int64_t wanted) const {
  std::vector<std::vector<double>> rows;
  for (const std::int64_t k : channels) rows.push_back(down(k));
  const auto F = static_cast<std::size_t>(F_);
  // S_k x = (Wgate^T (c o Wup x) + Wup^T (c o Wgate x)) / 2
  const auto products = [&](const std::vector<double>& x, std::vector<double>& y) {
    auto hidden = product(stream_, x, gate_up_);  // (n, 2 F): gate, up
    for (std::size_t n = 0; n < rows.size(); ++n)
      for (std::size_t i = 0; i < F; ++i) {
        double &gate = hidden[2 * n * F + i], &up = hidden[(2 * n + 1) * F + i];
        std::swap(gate, up);
        gate *= rows[n][i] / 2;
        up *= rows[n][i] / 2;
      }
    y = product(stream_, hidden, gate_up_t_);
  };
  return leading_eigenpairs(products, std::ssize(channels), C_, wanted, kLanczos);
}

std::string amplifier_not_for(const ModelConfig& config) {
  if (config.ffn.kind != FfnKind::kSwiGlu) return "the model has no SwiGLU FFN (model.ffn.kind)";
  if (config.norm.input &&
      (config.norm.kind == NormKind::kLayerNorm || (config.norm.kind == NormKind::kDynamicTanh && config.norm.beta)))
    return "the input norm has a bias, beside which an FFN is no quadratic form (model.norm.kind)";
  return "";
}

}  // namespace spikesink
