// A model's folder: model.safetensors, or an index where the input begins as JSON does.
#include "io/safetensors.h"

#include <filesystem>

#include "kernels/core/check.h"
#include "tests/fuzz/target.h"

namespace spikesink::fuzz {
namespace {

void make_shard(const std::string& folder) {
  std::filesystem::create_directories(folder);
  SafetensorsWriter writer(folder, {{"a", kSafeF32, {2, 3}}, {"b", kSafeBF16, {4}}}, 1 << 20);
  const std::vector<std::byte> values(2 * 3 * 4 + 4 * 2);
  writer.write(std::span(values).first(24));
  writer.write(std::span(values).subspan(24));
  writer.close();
  std::filesystem::rename(folder + "/model.safetensors", folder + "/shard.safetensors");
}

void feed_safetensors(std::string_view input) {
  const bool is_index = input.starts_with("{\"");
  const std::string folder = scratch(is_index ? "sharded" : "single");
  static const bool made = (make_shard(scratch("sharded")), true);
  (void)made;
  write_scratch(is_index ? "sharded/model.safetensors.index.json" : "single/model.safetensors", input);
  const Safetensors model = Safetensors::open(folder);
  std::int64_t bytes = 0;
  for (const auto& [name, tensor] : model.tensors()) {
    std::vector<std::byte> values(static_cast<std::size_t>(tensor.bytes));
    model.read(tensor, 0, values);
    bytes += tensor.bytes;
  }
  require(is_index || bytes < static_cast<std::int64_t>(input.size()), "more values than the file has");
}

const Registration kSafetensors{{"safetensors", feed_safetensors}};

}  // namespace
}  // namespace spikesink::fuzz
