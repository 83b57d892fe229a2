#pragma once
#include <cstdint>
#include <vector>

#include "data/config.h"
#include "data/document.h"
#include "data/tokenizer.h"

namespace spikesink {

/// Up to `count` samples (rows, T+1) to validate on, T = context: always the same, whatever the seed or lanes. They
/// come from all documents of data.validation if it names shards, else from the documents of data.train that are held
/// out by their hash; in the order of the shards, packed as Lane packs. Of token stores those that they hold out, or of
/// stores in data.validation all; a sample of each by turns. Of bigram_backcopy texts that no training has. Reads no
/// further than it needs to. DataError if they do not fill one sample, or a shard is named for both training and
/// validation. `counts`, if given, is set to the lines read for it, in which broken ones may have been left out. `key`
/// is where data.validation was given, for errors.
std::vector<std::int32_t> held_out_samples(const DataConfig& config, const Tokenizer& tokenizer, std::int64_t context,
                                           std::int64_t count, DocumentCounts* counts = nullptr,
                                           const std::string& key = "data.validation");

}  // namespace spikesink
