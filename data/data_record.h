#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "data/position.h"

namespace spikesink {

/// What data a run started with, for a file in its folder against which later starts and replays hold theirs.
struct DataRecord {
  static constexpr std::int64_t kEnd = 64 * 1024;  ///< bytes

  struct File {
    std::string name;  ///< without its folder
    std::uint64_t bytes = 0;
    std::uint32_t ends = 0;  ///< CRC-32C of its first kEnd bytes, then of its last, none of them twice

    bool operator==(const File&) const = default;
  };

  Fingerprint fingerprint;   ///< of the loader's position
  std::vector<File> shards;  ///< of stores, whose manifest has checksums, and of bigram_backcopy none

  bool operator==(const DataRecord&) const = default;
  /// Reads the ends of all shards, 16 files at a time. DataError if one cannot be read, or as find_shards().
  static DataRecord of(const std::vector<std::string>& paths, const std::string& key, const Fingerprint& fingerprint);
  std::string to_json() const;
  /// DataError if the text is not what to_json() gives.
  static DataRecord from_json(const std::string& text);
};

/// What a start of a run does with the record.
enum class DataStart {
  kBegins,   ///< writes it
  kGoesOn,   ///< compares; writes the record of a run that has none, of an older version
  kReplays,  ///< compares, if there is one
};

/// DataError saying what differs, or that the file is damaged, or cannot be looked at, read or written.
void keep_data_record(const std::string& file, const DataRecord& now, DataStart start);

}  // namespace spikesink
