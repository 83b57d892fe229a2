#include "data/document_stream.h"

#include <algorithm>

namespace spikesink {

void for_each_document(const std::vector<Shard>& shards, DocumentTally& tally,
                       const std::function<Onward(const ShardDocument&)>& visit) {
  bool read_all = true;
  for (const Shard& shard : shards) {
    DocumentReader reader(shard.path, tally);
    Onward onward = Onward::kNextDocument;
    while (onward == Onward::kNextDocument && reader.next())
      if (const auto text = reader.text()) onward = visit({.shard = shard, .line = reader.line(), .text = *text});
    if (onward == Onward::kStop) return;
    read_all = read_all && onward == Onward::kNextDocument;
  }
  if (read_all) tally.judge();
}

std::int64_t EvenShares::take(const Shard& shard, std::int64_t wanted) {
  if (current_ != &shard) {
    current_ = &shard;
    left_ += left_here_;
    left_here_ = left_ / std::max<std::int64_t>(1, shards_left_--);
    left_ -= left_here_;
  }
  const std::int64_t taken = std::min(left_here_, wanted);
  left_here_ -= taken;
  return taken;
}

}  // namespace spikesink
