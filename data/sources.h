#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "data/config.h"
#include "data/store/manifest.h"
#include "data/tokenizer.h"

namespace spikesink {

/// One of the things that data.train names, and what a run makes of it.
struct DataSource {
  enum class Kind { kStore, kShards, kToy };
  std::string path;  ///< as it is named: a store, a shard or a pattern of shards, or the toy task
  Kind kind = Kind::kShards;
  std::int64_t files = 0;                         ///< of the store; or shards
  std::uint64_t bytes = 0;                        ///< of shards, on disk
  std::optional<std::int64_t> tokens, documents;  ///< to train on; known of a store
  std::string tokenizer;         ///< Tokenizer::name(): that the store was made with, or that the run tokenises with
  double share = 1;              ///< of the run's samples; of shards it is about theirs of the bytes
  std::optional<double> epochs;  ///< that the run makes of a store's samples
};

/// What data.train names, in its order, for a run that draws `draws` samples of `context` tokens. Failures as those of
/// find_shards() and Manifest::read().
std::vector<DataSource> data_sources(const DataConfig& config, const Tokenizer& tokenizer, std::int64_t context,
                                     std::int64_t draws);

/// A line for each thing that is most likely not meant: a store or a shard of data.validation that is trained on too,
/// under another path or in a store; what note_on_ends() says of a store that is trained on.
std::vector<std::string> doubts_about_data(const DataConfig& config);

/// Of a store that `path` names: a line if .bin files without any end of text went into it, each as one document, else
/// nothing. Their ids are then most likely of another tokenizer.
std::optional<std::string> note_on_ends(const std::string& path, const Manifest& manifest);

}  // namespace spikesink
