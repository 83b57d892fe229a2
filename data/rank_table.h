#pragma once
#include <array>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace spikesink {

/// The tokens of a tiktoken ranks file: byte strings, each with its rank, which is its id and the order of merging.
/// A flat table with open addressing. Ranks may have gaps.
class RankTable {
 public:
  static constexpr std::int32_t kNone = -1;
  static constexpr std::int32_t kMostTokens = 1 << 24;  ///< ranks are below

  struct Token {
    std::string bytes;
    std::int32_t rank;
  };
  /// Token strings and ranks must be distinct, the strings not empty, the ranks in [0, kMostTokens).
  explicit RankTable(const std::vector<Token>& tokens);

  /// The rank of the token of these bytes, or kNone.
  std::int32_t find(std::string_view bytes) const {
    if (bytes.size() == 1) return of_byte_[static_cast<unsigned char>(bytes[0])];
    if (bytes.size() > longest_) return kNone;
    return find(bytes, hash(bytes));
  }
  /// The bytes of the token of this rank; empty if there is none.
  std::string_view bytes_of(std::int32_t rank) const {
    if (rank < 0 || rank >= num_ranks()) return {};
    const auto& [begin, size] = places_[static_cast<std::size_t>(rank)];
    return {bytes_.data() + begin, size};
  }
  /// The highest rank + 1.
  std::int32_t num_ranks() const { return static_cast<std::int32_t>(places_.size()); }
  std::size_t longest() const { return longest_; }

 private:
  struct Slot {
    std::uint32_t tag = 0;
    std::int32_t rank = kNone;
  };
  struct Place {
    std::uint32_t begin = 0, size = 0;
  };

  __extension__ using Wide = unsigned __int128;
  template <class T>
  static std::uint64_t load(const char* from) {
    T word;
    std::memcpy(&word, from, sizeof word);
    return word;
  }
  static std::uint64_t mix(std::uint64_t a, std::uint64_t b) {
    const Wide product = static_cast<Wide>(a ^ 0x9E3779B97F4A7C15u) * (b ^ 0xD1B54A32D192ED03u);
    return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
  }
  /// In the manner of wyhash: the two ends of a short string, overlapping, and sixteen bytes at a time of a long one.
  static std::uint64_t hash(std::string_view s) {
    const char* p = s.data();
    std::size_t n = s.size();
    if (n < 4) return mix(load<std::uint16_t>(p) << 16 | load<std::uint16_t>(p + n - 2), n);
    if (n < 8) return mix(load<std::uint32_t>(p), load<std::uint32_t>(p + n - 4) << 8 | n);
    std::uint64_t sum = n;
    for (; n > 16; n -= 16, p += 16) sum = mix(load<std::uint64_t>(p) ^ sum, load<std::uint64_t>(p + 8));
    return n < 8 ? mix(load<std::uint64_t>(p + n - 8) ^ sum, load<std::uint64_t>(p + n - 16))
                 : mix(load<std::uint64_t>(p) ^ sum, load<std::uint64_t>(p + n - 8));
  }
  std::int32_t find(std::string_view bytes, std::uint64_t hashed) const {
    const auto tag = static_cast<std::uint32_t>(hashed >> 32);
    for (std::size_t at = hashed & mask_;; at = (at + 1) & mask_) {
      const Slot& slot = slots_[at];
      if (slot.rank == kNone) return kNone;
      if (slot.tag == tag && bytes_of(slot.rank) == bytes) return slot.rank;
    }
  }

  std::array<std::int32_t, 256> of_byte_;
  std::vector<Slot> slots_;  ///< at least half of them empty
  std::size_t mask_ = 0, longest_ = 0;
  std::vector<Place> places_;  ///< by rank
  std::string bytes_;
};

}  // namespace spikesink
