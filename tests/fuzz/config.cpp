// The config reader: a file, and behind a zero byte each a --set.
#include "configs/reader.h"
#include "configs/writer.h"
#include "kernels/core/check.h"
#include "tests/fuzz/target.h"

namespace spikesink::fuzz {
namespace {

void feed_config(std::string_view input) {
  static const std::string base = write_scratch("base.yaml", kBaseConfig);  // for extends
  const std::string file = write_scratch("config.yaml", take_until(input, '\0'));
  std::vector<std::string> overrides;
  while (!input.empty()) overrides.emplace_back(take_until(input, '\0'));
  const std::string resolved = write_config(read_config(file, overrides));
  require(write_config(read_config_text(resolved, "resolved")) == resolved, "the resolved config reads as another");
}

const Registration kConfig{{"config", feed_config}};

}  // namespace
}  // namespace spikesink::fuzz
