#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "data/document.h"
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
/// Which documents: with at least as many shards as lanes, whole shards, dealt by a seeded permutation; else line d of
/// shard s belongs to lane (d + Philox(seed, s)) mod lanes. So in an epoch every document belongs to one lane. In each
/// epoch a lane goes through its shards in an order drawn by Philox (seed, lane, epoch), front to back. A lane that
/// finds no document in its first epoch (more lanes than documents) takes all lanes' documents from then on. It starts
/// at a line drawn by Philox (seed, lane) from as many as it passed, so that such lanes do not all say the same.
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

  void start_epoch();
  void end_shard();
  void end_epoch();
  void open_shard();
  void pass_foreign_lines();
  const Shard& shard() const;  ///< that is next, or being read
  void require_same_size(std::uint64_t bytes) const;
  void append_document();
  void append(std::string_view text);
  void drop_tokens_handed_on();
  [[noreturn]] void changed(const std::string& what) const;

  const LaneSource& source_;
  std::int64_t lane_;
  bool whole_shards_;
  LaneState next_;                   ///< epoch, shard and window that come next; line and token only at the start
  std::vector<std::int64_t> order_;  ///< of this epoch: indices of the lane's shards
  std::unique_ptr<DocumentReader> reader_;  ///< of shard order_[next_.shard], or null
  std::vector<std::int32_t> tokens_;        ///< read; from head_ on not yet handed on
  std::size_t head_ = 0;
  std::vector<Start> starts_;        ///< of the documents in tokens_
  std::int64_t lines_to_skip_ = 0;   ///< by a lane that has just turned to take all documents
  std::int64_t lines_in_epoch_ = 0;  ///< of the shards passed
  int empty_epochs_ = 0;             ///< in a row
  bool found_ = false;               ///< a document, in this epoch
};

}  // namespace spikesink
