#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/file_descriptor.h"

// safetensors: a file is the length of its header (u64, little-endian), the header, a JSON object of `name: {dtype,
// shape, data_offsets}`, and the tensors' bytes, row-major and little-endian, which follow one another without holes.
// Source: huggingface/safetensors, README.md "Format" (0.5).
namespace spikesink {

/// The number types of the format. Which of them a program computes with is its own business.
struct SafeDType {
  std::string_view name;
  std::int64_t bytes;
  friend bool operator==(const SafeDType& a, const SafeDType& b) { return a.name == b.name; }
};
inline constexpr SafeDType kSafeF64{"F64", 8}, kSafeF32{"F32", 4}, kSafeF16{"F16", 2}, kSafeBF16{"BF16", 2};
inline constexpr std::array kSafeDTypes = {kSafeF64,
                                           kSafeF32,
                                           kSafeF16,
                                           kSafeBF16,
                                           SafeDType{"I64", 8},
                                           SafeDType{"U64", 8},
                                           SafeDType{"I32", 4},
                                           SafeDType{"U32", 4},
                                           SafeDType{"I16", 2},
                                           SafeDType{"U16", 2},
                                           SafeDType{"I8", 1},
                                           SafeDType{"U8", 1},
                                           SafeDType{"BOOL", 1},
                                           SafeDType{"F8_E4M3", 1},
                                           SafeDType{"F8_E5M2", 1}};

/// A tensor in a file.
struct SafeTensor {
  SafeDType dtype;
  std::vector<std::int64_t> shape;  ///< empty: one element
  std::int64_t offset = 0;          ///< of its first byte in the file
  std::int64_t bytes = 0;
  std::size_t file = 0;  ///< of Safetensors
};

/// The header of an open file. DataError, one line naming file and tensor, for whatever does not fit: lengths and
/// offsets beyond the file, sizes that are not shape x dtype, tensors that overlap or leave holes, names that stand
/// twice, dtypes that the format does not have, JSON of another form. No allocation is larger than the header is.
std::map<std::string, SafeTensor> read_safetensors_header(const FileDescriptor& file);

/// The tensors of a model's folder: model.safetensors, or the shards that model.safetensors.index.json names. Tensors
/// are read stretch by stretch, never a file as a whole.
class Safetensors {
 public:
  /// Opens all files and checks their headers, and that index and shards agree. DataError as above.
  static Safetensors open(const std::string& folder);

  const std::map<std::string, SafeTensor>& tensors() const { return tensors_; }
  /// The folder.
  const std::string& path() const { return folder_; }
  const std::string& path_of(const SafeTensor& tensor) const { return files_[tensor.file].path(); }
  /// Bytes of a tensor, from its byte `first` on. Any number of threads may call.
  void read(const SafeTensor& tensor, std::int64_t first, std::span<std::byte> to) const;

 private:
  std::string folder_;
  std::vector<FileDescriptor> files_;
  std::map<std::string, SafeTensor> tensors_;
};

/// What a tensor to be written is.
struct SafeEntry {
  std::string name;
  SafeDType dtype;
  std::vector<std::int64_t> shape;
};

/// Writes a model's folder, tensor after tensor in the order of `entries`, into files of at most `shard_bytes`, unless
/// one tensor alone is more. A single file is model.safetensors; several have an index beside them.
class SafetensorsWriter {
 public:
  SafetensorsWriter(std::string folder, std::vector<SafeEntry> entries, std::int64_t shard_bytes);
  /// The next bytes; a stretch lies in one tensor.
  void write(std::span<const std::byte> bytes);
  /// When all bytes are written: closes the last file and writes the index. Nothing is synced yet.
  void close();

  std::size_t num_files() const { return shards_.size(); }

 private:
  struct Shard {
    std::size_t begin, end;  // of entries_
    std::int64_t bytes;
  };
  std::string file_name(std::size_t shard) const;
  void open_next();

  std::string folder_;
  std::vector<SafeEntry> entries_;
  std::vector<Shard> shards_;
  std::vector<FileDescriptor> file_;  // the open one, or none
  std::size_t opened_ = 0;            // shards
  std::int64_t left_ = 0;             // bytes of the open one
};

}  // namespace spikesink
