// Files of JSON that others may have written: a model's config.json, and what a store that is being prepared knows of a
// shard.
#include <nlohmann/json.hpp>

#include "data/store/parts.h"
#include "io/atomic_file.h"
#include "kernels/core/check.h"
#include "models/hf/hf_config.h"
#include "tests/fuzz/target.h"

namespace spikesink::fuzz {
namespace {

void feed_hf_config(std::string_view input) {
  const HfModel model = read_hf_config(input, "config.json");
  const auto text = [](const HfModel& of) { return write_hf_config(of, "float32").dump(); };
  require(text(read_hf_config(text(model), "config.json")) == text(model),
          "a config.json that we write reads as another");
}

void feed_shard_record(std::string_view input) {
  const ShardRecord record = ShardRecord::read(write_scratch("shard_00000000.json", input));
  const std::string again = write_scratch("shard_00000000.json", record.to_json());
  require(ShardRecord::read(again).to_json() == record.to_json(), "a shard's record reads as another");
}

const Registration kHfConfig{{"hf_config", feed_hf_config}}, kRecord{{"shard_record", feed_shard_record}};

}  // namespace
}  // namespace spikesink::fuzz
