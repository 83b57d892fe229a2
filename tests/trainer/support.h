#pragma once
#include <algorithm>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "models/decoder.h"
#include "tests/kernels/support.h"
#include "trainer/optimizer.h"

namespace spikesink::test {

/// A fresh folder that goes away with the object.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    const std::string pattern = (std::filesystem::temp_directory_path() / "spikesink_trainer_XXXXXX").string();
    std::vector<char> name(pattern.begin(), pattern.end());
    name.push_back('\0');
    path_ = mkdtemp(name.data());
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path_); }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

/// Of what lies in a folder.
inline std::set<std::string> names_in(const std::string& folder) {
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) names.insert(entry.path().filename().string());
  return names;
}

inline ModelConfig small_model() {
  ModelConfig c;
  c.d_model = 8;
  c.n_layers = 1;
  c.context = 4;
  c.vocab_size = 12;
  c.attention.n_heads = 2;
  c.attention.d_head = 4;
  c.ffn.d_hidden = 10;
  return c;
}

/// Where training runs, and in which dtypes.
struct Setup {
  Stream stream;
  DType dtype;
  StatePrecision state = StatePrecision::kF32;
};
/// All that there are: on CUDA weights in bf16 with f32 masters and without, and in f32.
inline std::vector<Setup> setups() {
  std::vector<Setup> all{{Stream::cpu(2), DType::kF64}, {Stream::cpu(2), DType::kF32}};
  if (has_gpu())
    for (const auto& [dtype, state] : {std::pair{DType::kF32, StatePrecision::kF32},
                                       {DType::kBF16, StatePrecision::kF32},
                                       {DType::kBF16, StatePrecision::kBF16}})
      all.push_back({cuda_stream(), dtype, state});
  return all;
}
inline std::string describe(const Setup& s) {
  return std::string(name_of(s.stream.device)) + " " + std::string(name_of(s.dtype)) +
         (s.state == StatePrecision::kBF16 ? " with bf16 state" : "");
}

/// A model with gradients and an optimizer whose moments are not zero.
struct Trained {
  explicit Trained(std::uint64_t seed, const ModelConfig& config = small_model(),
                   const Setup& setup = {Stream::cpu(2), DType::kF32})
      : stream(setup.stream),
        model(config),
        communicator(alone()),
        shards(stream, model, setup.dtype, *communicator, {}) {
    optimizer.emplace(shards, OptimizerConfig{}, setup.state, seed);
    optimizer->init();
    for (const Param& p : model.params().all()) {
      std::vector<double> grad;
      for (std::int64_t i = 0; i < p.grad.numel(); ++i) grad.push_back(0.01 * static_cast<double>(i % 7) - 0.02);
      stream.copy(p.grad, from_values(p.shape, p.grad.dtype(), grad));
    }
    optimizer->step(1e-2, 1);
  }
  /// All weights, moments and masters, one after another.
  std::vector<double> state() const {
    std::vector<double> all;
    for (std::size_t i = 0; i < model.params().all().size(); ++i) {
      const auto [m, v, master] = optimizer->state(i);
      for (const Tensor& t : {model.params().all()[i].value, m, v, master})
        if (t) std::ranges::copy(values(t), std::back_inserter(all));
    }
    return all;
  }

  Stream stream;
  Decoder model;
  std::shared_ptr<Communicator> communicator;
  Shards shards;
  std::optional<Optimizer> optimizer;
};

}  // namespace spikesink::test
