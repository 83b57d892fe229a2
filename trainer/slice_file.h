#pragma once
#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "trainer/state_slice.h"

// The HDF5 file that a rank writes its slices into. A slice that is a whole tensor is a dataset of the tensor's shape,
// GROUP/NAME; any other is one of its elements in a row, with two attributes: `first`, its place in the row-major
// order of the whole, and `shape`, that of the whole.
namespace spikesink {

/// Host memory that a HostCopy of the slices takes.
std::int64_t checkpoint_bytes(std::span<const StateSlice> slices);

/// The values of slices at one time, to be written while training goes on.
class HostCopy {
 public:
  /// Waits for the stream. The memory of the copy before is used again. A tensor may be in one slice only.
  void take(const Stream& stream, std::span<const StateSlice> slices);
  /// DataError if the file cannot be written. It is not synced yet.
  void write(const std::string& path) const;

 private:
  struct Entry {
    std::string name;
    Shape whole;
    std::int64_t first, count;
    DType dtype;
    std::size_t offset;
  };
  std::vector<Entry> entries_;
  std::vector<std::byte> bytes_;
};

/// To be asked before memory is taken for a model of which only a file tells: DataError as load_slices() of all weights
/// where it can be told without their values, and where the files are too small to hold them.
void require_weights(std::span<const std::string> files, const ParamSet& params);

/// Fills the slices, each rounded to its dtype, with what the files of all ranks have of them; only that is read.
/// Several slices may be of one tensor. DataError names the parameter that is missing, in whole or in part, or that is
/// of another shape: files of another model.
void load_slices(const Stream& stream, std::span<const std::string> files, std::span<const StateSlice> slices);

}  // namespace spikesink
