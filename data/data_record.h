#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "data/config.h"
#include "data/position.h"

namespace spikesink {

/// What data a run started with, for a file in its folder against which later starts and replays hold theirs.
struct DataRecord {
  static constexpr std::int64_t kEnd = 64 * 1024;  ///< bytes

  /// Of the shards, for ranks that share a disk: part `place` of `of`, and at least kFewest shards.
  struct Share {
    static constexpr std::size_t kFewest = 64;
    int place = 0, of = 1;
  };

  struct File {
    std::string name;  ///< without its folder
    std::uint64_t bytes = 0;
    std::optional<std::uint32_t> ends;  ///< CRC-32C of its first kEnd bytes, then of its last, none of them twice

    bool operator==(const File&) const = default;
  };

  /// The sequences that probes measure: as many as metrics.sequences asks for, or as there are.
  struct HeldOut {
    std::string from;                      ///< the key that names their text
    std::int64_t asked = 0;                ///< 0: of a record of an older version, which has none of this
    std::vector<std::uint32_t> sequences;  ///< CRC-32C of each one's tokens (int32)

    bool operator==(const HeldOut&) const = default;
    /// `samples` (rows, T+1), T = context: what held_out_samples() gives for that config where it is asked for `asked`.
    static HeldOut of(const DataConfig& config, std::span<const std::int32_t> samples, std::int64_t context,
                      std::int64_t asked);
  };

  Fingerprint fingerprint;   ///< of the loader's position
  std::vector<File> shards;  ///< of stores, whose manifest has checksums, and of bigram_backcopy none
  HeldOut held_out = {};

  bool operator==(const DataRecord&) const = default;
  /// All but what is held out. Reads the ends of the share's shards, 16 files at a time: all ranks of many that read
  /// all of them would take longer than a start may. DataError if one cannot be read, or as find_shards().
  static DataRecord of(const std::vector<std::string>& paths, const std::string& key, const Fingerprint& fingerprint,
                       const Share& share);
  std::string to_json() const;  ///< of one that has all ends
  /// DataError if the text is not what to_json() gives.
  static DataRecord from_json(const std::string& text);
};

/// The first thing in which they differ, if they do. Ends count where both have them. Of the sequences that probes
/// measure one record may have more, if more were asked for.
std::optional<DataDifference> difference(const DataRecord& then, const DataRecord& now);

/// The same of what is held out alone. Nothing if the former is of an older version, which has none of it.
std::optional<DataDifference> difference(const DataRecord::HeldOut& then, const DataRecord::HeldOut& now);

/// The record in a file. DataError, naming the file, if it cannot be read or is damaged.
DataRecord read_data_record(const std::string& file);

/// What a start of a run does with the record.
enum class DataStart {
  kBegins,   ///< writes it
  kGoesOn,   ///< compares; writes what the record of a run lacks, of an older version or with fewer sequences to probe
  kReplays,  ///< compares, if there is one, what is trained on
};

/// DataError saying what differs, or that the file is damaged, or cannot be looked at, read or written.
void keep_data_record(const std::string& file, const DataRecord& now, DataStart start);

}  // namespace spikesink
