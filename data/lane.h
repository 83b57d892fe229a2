#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "data/document.h"
#include "data/lane_share.h"
#include "data/position.h"
#include "data/shards.h"
#include "data/tokenizer.h"

namespace spikesink {

/// What all lanes of a run have in common. Everything referred to outlives them.
struct LaneSource {
  std::vector<Shard> shards;
  const Tokenizer& tokenizer;
  DocumentTally& tally;
  std::optional<std::int32_t> begin;  ///< token at the front of every sample, if any
  std::int64_t context = 0;           ///< T
  std::int64_t lanes = 1;
  double holdout = 0;  ///< share of documents that are left out, see holdout_draw()
  std::uint64_t seed = 0;
};

/// A block of a lane's samples, in the order in which they are handed out.
struct Window {
  LaneState begin;                   ///< the lane's state that leads to this window
  std::vector<std::int32_t> tokens;  ///< (kWindow, T+1)
};

/// One of the independent streams that samples are dealt from: documents -> tokens -> packed samples -> shuffled
/// windows. A pure function of (data, seed, lane): it knows nothing of threads, ranks or other lanes.
///
/// Which documents: those of share_of_lane(), epoch after epoch, each part of a shard front to back. So in an epoch
/// every document is one lane's. A lane that has none in an epoch goes on with the next.
///
/// Packing: the texts' tokens, each with an end-of-text token, make one stream x_0, x_1, ... through all epochs. Sample
/// i is x_iT .. x_iT+T: its last target is the next one's first input, so that every token but x_0 is predicted once.
/// With a begin-of-text token B it is B, x_iT .. x_iT+T-1: every token is predicted once. Either way a sample moves on
/// by T tokens, and a document longer than that goes on in the next sample.
///
/// kWindow samples are shuffled as a block by Philox (seed, lane, window).
class Lane {
 public:
  static constexpr std::int64_t kWindow = 16;
  /// DataError as require_sound().
  Lane(const LaneSource& source, std::int64_t lane, const LaneState& state);

  /// DataError if there can be no such state of this lane: it comes from a damaged checkpoint.
  static void require_sound(const LaneSource& source, std::int64_t lane, const LaneState& state);

  /// DataError if a shard cannot be read or has another size than it was found with, too many lines are broken, or no
  /// document is left at all.
  Window next_window();

 private:
  struct Start {  ///< a document in tokens_
    LaneState place;
    std::int64_t offset;  ///< of its first token, from head_ on; negative where that is handed on
  };

  void end_shard();
  void end_epoch();
  void open_shard();
  void pass_foreign_lines();
  void require_any_document();
  const ShardPart& part() const;  ///< that is next, or being read
  const Shard& shard() const;     ///< of it
  void require_same_size(std::uint64_t bytes) const;
  void append_document();
  void append(std::string_view text);
  void drop_tokens_handed_on();
  [[noreturn]] void changed(const std::string& what) const;

  const LaneSource& source_;
  std::int64_t lane_;
  LaneState next_;                ///< epoch, shard and window that come next; line and token only at the start
  std::vector<ShardPart> share_;  ///< of this epoch
  std::unique_ptr<DocumentReader> reader_;  ///< of part(), or null
  std::vector<std::int32_t> tokens_;        ///< read; from head_ on not yet handed on
  std::size_t head_ = 0;
  std::vector<Start> starts_;  ///< of the documents in tokens_
  bool any_document_ = false;  ///< is known to be in the data
};

}  // namespace spikesink
