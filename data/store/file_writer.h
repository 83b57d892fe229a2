#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "data/store/manifest.h"
#include "io/file_descriptor.h"

namespace spikesink {

/// Writes the file of one shard. HDF5 must know how long a contiguous dataset is before its first value, so tokens wait
/// in files without a name beside it: memory is 8 bytes a document. Several may write the same file at once: it is the
/// last one's.
class StoreFileWriter {
 public:
  /// DataError if files cannot be made in the folder of `path`.
  StoreFileWriter(std::string path, int token_bytes);

  /// A document with its end-of-text token. Ids fit token_bytes.
  void add(std::span<const std::int32_t> tokens, bool held_out);
  /// Puts the file in place, synced to the disk, and says what it has; `name`, `source` and `source_bytes` are the
  /// caller's to fill in.
  StoreFile finish();

 private:
  struct Row {
    FileDescriptor spool;
    std::vector<std::int64_t> starts = {0};
    std::uint32_t crc = 0;
  };
  template <class T>
  TokenRow copy(class H5File& file, const std::string& group, Row& row) const;

  std::string path_;
  int token_bytes_;
  Row train_, held_out_;
  std::vector<std::uint16_t> narrow_;  // what is being written
};

}  // namespace spikesink
