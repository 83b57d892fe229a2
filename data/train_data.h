#pragma once
#include <string>
#include <vector>

#include "data/config.h"
#include "data/tokenizer.h"

namespace spikesink {

// What data.train and data.validation name: shards of text, token stores, or the toy task bigram_backcopy.

/// Whether the paths are token stores. UsageError naming `key` if only some of them are.
bool are_stores(const std::vector<std::string>& paths, const std::string& key);

/// Tells other data apart, wherever the same data lies: see shards_fingerprint() and Manifest::fingerprint(). Failures
/// as find_shards(), are_stores() and Manifest::read().
std::string data_fingerprint(const std::vector<std::string>& paths, const std::string& key);

/// Failure naming `key` where there is no data, or stores made with another tokenizer. Reads no text and no tokens.
void require_data(const std::vector<std::string>& paths, const Tokenizer& tokenizer, const std::string& key);

/// Of a run on token stores or on bigram_backcopy, lines that say which keys of `config` have no effect as they stand:
/// what these keys decide was decided when the stores were prepared.
std::vector<std::string> notes_on_data(const DataConfig& config);

}  // namespace spikesink
