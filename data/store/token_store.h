#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "data/store/manifest.h"

namespace spikesink {

enum class StorePart { kTrain, kHeldOut };

/// Reads the tokens of a store, or those held out, as one row: the files in order. HDF5 says once, when a file is first
/// read, where its tokens lie; from then on they are read with pread, by any number of threads at once. Memory does not
/// grow with the tokens: some words a file. Files stay open as OpenFiles has room for them.
class TokenStore {
 public:
  /// Reads the manifest. DataError if the folder holds no whole store.
  explicit TokenStore(const std::string& folder, StorePart part = StorePart::kTrain);
  ~TokenStore();

  const Manifest& manifest() const;
  const std::string& folder() const;
  std::int64_t tokens() const;
  std::int64_t documents() const;

  /// Fills `to` with the tokens from `first` on. DataError if a file is missing, is not as long as the manifest says,
  /// or holds ids beyond the vocabulary.
  void read(std::int64_t first, std::span<std::int32_t> to) const;
  /// Where documents begin in [first, first + count), ascending.
  std::vector<std::int64_t> document_starts(std::int64_t first, std::int64_t count) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace spikesink
