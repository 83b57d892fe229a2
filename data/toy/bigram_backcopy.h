#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "data/config.h"
#include "data/loader.h"

// The Bigram-Backcopy task, on which attention sinks, value drains and peaks of the residual stream appear in models of
// one to three layers. Source: Guo et al. 2024, arXiv:2410.13835, section 2; the chain there is of letters of a text,
// here it is drawn.
namespace spikesink {

/// A Markov chain on 64 characters, three of which are triggers: behind a trigger comes the character that stood before
/// it. So a head has work at triggers only. Characters are ids of the tokenizer `bytes`.
class BigramBackcopy {
 public:
  static constexpr std::string_view kName = "bigram_backcopy";  ///< the word in data.train
  static constexpr std::string_view kCharacters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .";
  static constexpr std::int64_t kStates = 64, kTriggers = 3;  ///< the last ones: '9', ' ' and '.'

  /// The chain does not depend on a seed. The row of state v is proportional to exp(2 z), z standard normal.
  BigramBackcopy();

  /// Fills `to` with text number `number`, a pure function of it and of the seed. `held_out`: one that no training has.
  void write(std::uint64_t seed, bool held_out, std::int64_t number, std::span<std::int32_t> to) const;
  /// P(next | state), of the chain; states in the order of kCharacters.
  double probability(std::int64_t state, std::int64_t next) const;
  static bool is_trigger(std::int64_t state) { return state >= kStates - kTriggers; }

 private:
  std::array<std::array<double, kStates>, kStates> cumulative_;
};

/// Whether data.train or data.validation (`key`) is that word. UsageError if it stands beside other words.
bool is_bigram_backcopy(const std::vector<std::string>& paths, const std::string& key);
/// UsageError unless the tokenizer is `bytes`.
void require_bytes(const Tokenizer& tokenizer, const std::string& key);

/// Deals texts of the task: slot s of step b is text b * S + s of the seed, behind a begin of text if asked for.
class BigramBackcopyLoader final : public Loader {
 public:
  explicit BigramBackcopyLoader(const LoaderOptions& options);

  std::vector<std::int32_t> next(std::int64_t step, std::int64_t first, std::int64_t count) override;
  Position position() const override { return {.step = step_, .fingerprint = fingerprint_, .lanes = {}}; }
  void seek(const Position& position) override;
  DocumentCounts counts() const override { return {}; }
  double waited_seconds() const override { return 0; }

 private:
  BigramBackcopy task_;
  std::vector<std::int32_t> begin_;  // nothing, or a begin of text
  std::int64_t row_, sequences_;
  std::uint64_t seed_;
  Fingerprint fingerprint_;
  std::int64_t step_ = 0;
};

/// `count` samples (rows, T+1) to validate on, the same for every seed. UsageError where the tokenizer is not bytes; it
/// names `key`, where the text was given.
std::vector<std::int32_t> held_out_backcopy(const DataConfig& config, const Tokenizer& tokenizer, std::int64_t context,
                                            std::int64_t count, const std::string& key);

}  // namespace spikesink
