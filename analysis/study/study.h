#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "analysis/config.h"
#include "analysis/study/results.h"
#include "data/tokenizer.h"
#include "kernels/core/stream.h"
#include "models/decoder.h"

// The paper's analyses of a trained model (Sun, Canziani, LeCun, Zhu 2026, arXiv:2603.05498, section 3), each a
// function of a Study that fills Results, and a row of analyses().
namespace spikesink {

struct SpikePlaces;

/// A trained model and the text that it is studied on. All that it refers to outlives it.
struct Study {
  const Stream& stream;
  const Decoder& model;                     ///< with its weights
  std::span<const std::int32_t> tokens;     ///< (S, T) sequences
  std::int64_t length = 0;                  ///< T
  std::optional<std::int32_t> end_of_text;  ///< where attention ends at document borders, the token that ends one
  const Tokenizer* tokenizer = nullptr;     ///< for texts of tokens; null where the model's is not known
  SpikeConfig spike;                        ///< what a massive activation is
  double sink_epsilon = 0.3;                ///< attention share from which a head is a sink head
  std::int64_t micro_batch = 1;             ///< sequences of `length` in a pass, at most
  /// Told the share of the running analysis that is done, 0 to 1, now and then.
  std::function<void(double)> progress = [](double) {};
  /// Told a line for the reader while the running analysis goes on, such as how long it will take.
  std::function<void(const std::string&)> say = [](const std::string&) {};
  std::span<const std::int32_t> context_tokens = {};  ///< longer sequences, for what is measured at two lengths
  std::int64_t context = 0;                           ///< their length; 0: there are none
  /// Found by the first analysis that asks for them: spike_places(), analysis/study/spike_places.h.
  mutable std::shared_ptr<const SpikePlaces> found_places = nullptr;

  std::int64_t sequences() const { return static_cast<std::int64_t>(tokens.size()) / length; }
};

struct AnalysisRow {
  std::string_view name;  ///< of --only, and of the group in analysis.h5
  std::string_view help;  ///< one line
  void (*run)(const Study&, Results&);
  /// Why the model has no such analysis (no SwiGLU FFN, no gate), in one line; empty: it has.
  std::string (*not_for)(const ModelConfig&);
  bool by_default = true;     ///< false: only where its name is given
  std::int64_t shortest = 2;  ///< tokens that a sequence must have
};

/// In the order in which they run.
std::span<const AnalysisRow> analyses();

}  // namespace spikesink
