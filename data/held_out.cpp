#include "data/held_out.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <span>

#include "data/document_stream.h"
#include "data/store/store_loader.h"
#include "data/toy/bigram_backcopy.h"
#include "data/train_data.h"
#include "io/failure.h"
#include "kernels/core/check.h"

namespace spikesink {
namespace {

std::int64_t length(const std::vector<std::int32_t>& tokens) { return static_cast<std::int64_t>(tokens.size()); }

std::vector<Shard> validation_shards(const DataConfig& config, const std::string& key) {
  std::vector<Shard> shards = find_shards(config.validation, key);
  if (config.train.empty() || is_bigram_backcopy(config.train, "data.train") || are_stores(config.train, "data.train"))
    return shards;  // no shards are trained on
  for (const Shard& shard : find_shards(config.train, "data.train"))
    if (std::ranges::find(shards, shard) != shards.end())
      throw DataError(fmt::format("{}: {} is named in data.train too; take it out of one of the two", key, shard.path));
  return shards;
}

/// From token stores, by turns: of each the first samples of what `part` holds.
std::vector<std::int32_t> samples_of_stores(const std::vector<std::string>& paths, StorePart part,
                                            const std::string& key, const DataConfig& config,
                                            const Tokenizer& tokenizer, std::int64_t context, std::int64_t count) {
  const bool own = part == StorePart::kTrain;
  const auto begin = begin_token(config.begin_of_text, tokenizer);
  const std::int64_t lookahead = begin ? 0 : 1;
  const auto stores = open_stores(paths, tokenizer, key, part);
  std::vector<std::int32_t> samples;
  std::int64_t rows = 0, most = 0, tokens = 0;
  for (const auto& store : stores) {
    most = std::max(most, (store->tokens() - lookahead) / context);
    tokens += store->tokens();
  }
  for (std::int64_t i = 0; i < most && rows < count; ++i)
    for (const auto& store : stores) {
      if (rows == count || (i + 1) * context + lookahead > store->tokens()) continue;
      if (begin) samples.push_back(*begin);
      const auto at = samples.size();
      samples.resize(at + static_cast<std::size_t>(context + lookahead));
      store->read(i * context, std::span(samples).subspan(at));
      ++rows;
    }
  if (rows == 0)
    throw DataError(
        own ? fmt::format("{}: its stores have {} tokens, fewer than one sample of {} tokens; name more, or take "
                          "shorter samples (model.context, or --context)",
                          key, tokens, context)
            : fmt::format("{}: its stores hold out {} tokens, fewer than one sample of {} tokens; prepare them with a "
                          "higher --holdout, or name something in data.validation",
                          key, tokens, context));
  return samples;
}

}  // namespace

std::vector<std::int32_t> held_out_samples(const DataConfig& config, const Tokenizer& tokenizer, std::int64_t context,
                                           std::int64_t count, DocumentCounts* counts, const std::string& key) {
  require(context > 0 && count > 0, "held-out samples: context ", context, ", count ", count, ", expected > 0");
  const bool own_shards = !config.validation.empty();
  const std::vector<std::string>& paths = own_shards ? config.validation : config.train;
  const std::string named = own_shards ? key : "data.train";
  if (is_bigram_backcopy(paths, named)) {
    if (counts) *counts = {};
    return held_out_backcopy(config, tokenizer, context, count, named);
  }
  if (are_stores(paths, named)) {
    if (counts) *counts = {};
    return samples_of_stores(paths, own_shards ? StorePart::kTrain : StorePart::kHeldOut, named, config, tokenizer,
                             context, count);
  }
  const auto shards = own_shards ? validation_shards(config, key) : find_shards(paths, named);
  const auto begin = begin_token(config.begin_of_text, tokenizer);
  const std::int64_t lookahead = begin ? 0 : 1;
  const std::int64_t needed = count * context + lookahead;

  std::vector<std::int32_t> tokens;
  DocumentTally tally(config.max_bad_share);
  for_each_document(shards, tally, [&](const ShardDocument& document) {
    if (own_shards || holdout_draw(document.text) < config.holdout) {
      encode_document(tokenizer, document.text, document.shard.path, document.line, tokens);
      tokens.push_back(tokenizer.end_of_text());
    }
    return length(tokens) < needed ? Onward::kNextDocument : Onward::kStop;
  });
  if (counts) *counts = tally.counts();

  const std::int64_t rows = std::clamp((length(tokens) - lookahead) / context, std::int64_t{0}, count);
  if (rows == 0)
    throw DataError(
        own_shards
            ? fmt::format("{}: its documents have {} tokens, fewer than one sample of {} tokens; name more shards, or "
                          "take shorter samples (model.context, or --context)",
                          key, tokens.size(), context)
            : fmt::format("data.holdout: {} of the documents have {} tokens, fewer than one sample of {} tokens; "
                          "raise it (0.05 suits some hundred documents), or name shards in data.validation",
                          config.holdout, tokens.size(), context));
  std::vector<std::int32_t> samples;
  samples.reserve(static_cast<std::size_t>(rows * (context + 1)));
  for (std::int64_t i = 0; i < rows; ++i) {
    const auto from = tokens.begin() + i * context;
    if (begin) samples.push_back(*begin);
    samples.insert(samples.end(), from, from + context + lookahead);
  }
  return samples;
}

}  // namespace spikesink
