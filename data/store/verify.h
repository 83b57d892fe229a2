#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "data/store/manifest.h"

namespace spikesink {

/// How far a verification is.
struct VerifyProgress {
  std::int64_t files = 0, files_done = 0;
  std::int64_t bytes = 0, bytes_done = 0;  ///< of the datasets, as the manifest counts them
  std::int64_t findings = 0;
};

struct VerifyOptions {
  std::string store;
  int threads = 1;
  std::function<void(const VerifyProgress&)> report;  ///< called about twice a second, if given
};

struct Verification {
  Manifest manifest;
  std::int64_t bytes = 0;             ///< of the datasets, read
  std::vector<std::string> findings;  ///< "FILE: what", in the order of the manifest; of a kind one a dataset
};

/// Holds every byte of a store's data, trained on and held out, against its manifest: the files are there, and no
/// others; an HDF5 file has the datasets and nothing else; counts and CRC-32C; document starts ascend from 0 to the
/// end; each document has one end-of-text token, its last; ids lie in the vocabulary. What is wrong is a finding, and
/// the rest goes on. Memory: a file's document starts and 2 MB, for each thread. DataError without a sound manifest.
Verification verify_store(const VerifyOptions& options);

}  // namespace spikesink
