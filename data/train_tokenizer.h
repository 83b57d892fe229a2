#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace spikesink {

/// How `spikesink tokenizer train` makes a model.
struct TokenizerTraining {
  std::vector<std::string> inputs;       ///< shards or globs
  std::int64_t vocab = 0;                ///< ids: unknown, begin, end of text, 256 bytes, characters and merges
  std::string out;                       ///< FILE.model
  std::int64_t text_bytes = 30'000'000;  ///< of text that is looked at, the first documents of every shard
  double max_bad_share = 0.001;          ///< as data.max_bad_share; --max-bad-share in messages
  int threads = 2;
  bool verbose = false;  ///< sentencepiece's own log, on stderr
};

/// Why there can be no vocabulary of so few, in one line; or empty.
std::string problem_of_vocab(std::int64_t vocab);

/// Trains a byte-pair model of sentencepiece set as Llama's (Touvron et al. 2023, arXiv:2302.13971, 2.1): no
/// normalisation, digits apart, a space put before the text, all spaces kept, unknown characters as bytes; ids 0
/// unknown, 1 begin (bos), 2 end of text (eos). Written whole or not at all; the same input gives the same model.
/// UsageError for a vocabulary of fewer than 300, or an `out` that is no .model; DataError for one that the text is too
/// small for, or if a shard cannot be read or the file not written.
void train_tokenizer(const TokenizerTraining& training);

}  // namespace spikesink
