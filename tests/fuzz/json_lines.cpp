// Shards of documents: plain, zstd or gzip, as the first bytes say.
#include "data/document.h"
#include "data/utf8.h"
#include "kernels/core/check.h"
#include "tests/fuzz/target.h"

namespace spikesink::fuzz {
namespace {

std::string_view ending(std::string_view input) {
  if (input.starts_with("\x28\xB5\x2F\xFD")) return ".jsonl.zst";
  return input.starts_with("\x1F\x8B") ? ".jsonl.gz" : ".jsonl";
}

void feed_json_lines(std::string_view input) {
  const std::string path = write_scratch("shard" + std::string(ending(input)), input);
  DocumentTally tally(1.0);
  DocumentReader reader(path, tally);
  std::int64_t documents = 0;
  while (reader.next())
    if (const auto text = reader.text()) {
      require(!text->empty() && is_utf8(*text), "a document that is none");
      ++documents;
    }
  require(tally.counts().documents == documents && tally.counts().lines() <= reader.line(), "documents miscounted");

  LineReader skipping(path, 40);  // lines that are passed over or too long count as those that are read
  const std::int64_t skipped = skipping.skip_lines(3);
  while (const auto line = skipping.next()) require(line->size() <= 40, "a line longer than its limit");
  require(skipping.line() == reader.line() && skipped == std::min<std::int64_t>(3, reader.line()), "lines miscounted");
}

const Registration kJsonLines{{"json_lines", feed_json_lines}};

}  // namespace
}  // namespace spikesink::fuzz
