#pragma once
#include <memory>
#include <string>
#include <vector>

#include "data/loader.h"
#include "data/store/token_store.h"

namespace spikesink {

/// Deals samples from token stores: slot s of step b is draw b * S + s of a StoreOrder, so samples depend neither on
/// the number of ranks nor on how often the run was resumed. The steps to come are read ahead, of the slots that the
/// last call asked for, up to kAheadBytes.
class StoreLoader final : public Loader {
 public:
  static constexpr std::int64_t kAheadBytes = std::int64_t{64} << 20;  ///< and one step at least

  /// Opens the stores that data.train names. DataError as TokenStore, for stores of different tokenizers or of another
  /// one than data.tokenizer; UsageError for data.weights that do not fit.
  explicit StoreLoader(const LoaderOptions& options);
  ~StoreLoader() override;
  StoreLoader(const StoreLoader&) = delete;
  StoreLoader& operator=(const StoreLoader&) = delete;

  std::vector<std::int32_t> next(std::int64_t step, std::int64_t first, std::int64_t count) override;
  Position position() const override;
  void seek(const Position& position) override;
  DocumentCounts counts() const override { return {}; }
  double waited_seconds() const override;

 private:
  class Reader;
  std::unique_ptr<Reader> reader_;
};

/// The stores that `paths` name, opened. DataError unless all were made with the tokenizer.
std::vector<std::unique_ptr<TokenStore>> open_stores(const std::vector<std::string>& paths, const Tokenizer& tokenizer,
                                                     const std::string& key, StorePart part = StorePart::kTrain);

}  // namespace spikesink
