#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "data/store/manifest.h"
#include "io/lock.h"

namespace spikesink {

/// What one shard came to.
struct ShardRecord {
  StoreFile file;
  std::int64_t text_bytes = 0;
  DocumentCounts lines;
  std::int64_t too_short = 0, too_long = 0, duplicates = 0;
  std::string stamp;  ///< of what it was made of: see source_stamp()

  std::string to_json() const;
  static ShardRecord read(const std::string& path);
};

/// The folder in which those who prepare a store meet: a lock, and when it is done a result, for each piece of work.
class Parts {
 public:
  explicit Parts(const std::string& store) : path_(store + "/parts") {}

  const std::string& path() const { return path_; }
  std::string plan() const { return path_ + "/plan.json"; }  ///< input and options, the first thing that is there
  std::string record(std::int64_t shard) const;              ///< of a shard that is tokenised
  std::string hashes(std::int64_t shard) const;              ///< of its documents
  std::string duplicates(int comparison) const;              ///< among all hashes that begin alike
  /// The right to a piece of work, or null if another has it.
  std::unique_ptr<FileLock> claim(const std::string& result) const { return FileLock::unless_held(result + ".lock"); }

 private:
  std::string path_;
};

}  // namespace spikesink
