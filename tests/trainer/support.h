#pragma once
#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "models/decoder.h"
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

/// A model with gradients and an optimizer whose moments are not zero.
struct Trained {
  explicit Trained(std::uint64_t seed, const ModelConfig& config = small_model())
      : stream(Stream::cpu(2)), model(config) {
    model.params().allocate(stream, DType::kF32, true);
    model.params().init(seed);
    optimizer.emplace(stream, model.params(), OptimizerConfig{});
    for (const Param& p : model.params().all())
      for (std::size_t i = 0; i < p.grad.span<float>().size(); ++i)
        p.grad.span<float>()[i] = 0.01f * static_cast<float>(i % 7) - 0.02f;
    optimizer->step(1e-2, 1);
  }
  /// All weights and moments, one after another.
  std::vector<float> state() const {
    std::vector<float> all;
    const auto append = [&](const Tensor& t) { std::ranges::copy(t.span<float>(), std::back_inserter(all)); };
    for (std::size_t i = 0; i < model.params().all().size(); ++i) {
      append(model.params().all()[i].value);
      append(optimizer->state(i).m);
      append(optimizer->state(i).v);
    }
    return all;
  }

  Stream stream;
  Decoder model;
  std::optional<Optimizer> optimizer;
};

}  // namespace spikesink::test
