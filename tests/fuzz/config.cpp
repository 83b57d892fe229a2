// The config reader: a file, and behind a zero byte each a --set.
#include "configs/reader.h"
#include "configs/writer.h"
#include "kernels/core/check.h"
#include "tests/fuzz/target.h"

namespace spikesink::fuzz {
namespace {

constexpr std::string_view kBase =
    "model: {d_model: 32, n_layers: 2, vocab_size: 258, attention: {n_heads: 4}}\n"
    "data: {train: [x.jsonl], tokenizer: bytes}\ntrain: {steps: 10}\n";

void read(std::string_view input) {
  static const std::string base = write_scratch("base.yaml", kBase);  // for extends
  const std::string file = write_scratch("config.yaml", take_until(input, '\0'));
  std::vector<std::string> overrides;
  while (!input.empty()) overrides.emplace_back(take_until(input, '\0'));
  const std::string resolved = write_config(read_config(file, overrides));
  require(write_config(read_config_text(resolved, "resolved")) == resolved, "the resolved config reads as another");
}

const Registration kConfig{{"config", read}};

}  // namespace
}  // namespace spikesink::fuzz
