#pragma once
#include <cstdint>

#include "io/file_descriptor.h"

namespace spikesink {

/// The file that HDF5 writes into, by a driver of ours in place of its own. HDF5 1.10 does not survive a write that
/// fails while it closes a file: the file stays half open, and the process dies of a bad pointer at the latest in
/// exit(), with no word about the full disk. So the driver tells HDF5 that all is well, and keeps the first failure for
/// H5File.
struct H5Sink {
  FileDescriptor file;
  int failure = 0;  ///< errno of the first call that failed; nothing is written after it
};

/// Makes the file access property list `access` (an hid_t) create files in `sink`, which must outlive them.
/// False if HDF5 refuses.
bool use_sink(std::int64_t access, H5Sink& sink);

}  // namespace spikesink
