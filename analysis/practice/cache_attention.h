#pragma once
#include <cstdint>
#include <optional>

#include "kernels/core/stream.h"
#include "models/config.h"
#include "models/interventions.h"

namespace spikesink {

/// Which keys a query meets in a cache that holds `size` tokens, its own included: the first `kept` of the sequence and
/// the last size - kept. Positions are those inside the cache, as in StreamingLLM: query t has position min(t, size -
/// 1), the kept ones have their own and the others end at the query's. So a query is t - s from a recent key s, and
/// min(t, size - 1) - s from a kept one. Source: Xiao et al. 2023, arXiv:2309.17453, section 3.2.
struct CachedKeys {
  std::int64_t size;      ///< at least 1
  std::int64_t kept = 0;  ///< less than size
  /// A position that only its own query meets.
  std::optional<std::int64_t> without = std::nullopt;
};

/// Attention over such a cache, in the place of every attention product of a pass; a softmax over the keys that are
/// met. Keys of other documents are not, whatever the cache holds. Runs on the host, from a GPU through copies; memory
/// is linear in the length.
class CacheAttention final : public Intervention {
 public:
  CacheAttention(const Stream& stream, const AttentionConfig& config, const CachedKeys& keys);

  bool attention(std::string_view path, const kernels::AttentionForward& args) override;

 private:
  const Stream& stream_;
  AttentionConfig config_;
  CachedKeys keys_;
};

}  // namespace spikesink
