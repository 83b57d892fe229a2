#include "data/loader.h"

#include <fmt/format.h>

#include <algorithm>

#include "data/store/store_loader.h"
#include "data/stream_loader.h"
#include "io/failure.h"

namespace spikesink {

std::unique_ptr<Loader> make_loader(const LoaderOptions& options) {
  const auto& train = options.data.train;
  const auto stores = std::ranges::count_if(train, is_store);
  if (stores == 0) {
    if (!options.data.weights.empty())
      throw UsageError("data.weights: has an effect only with token stores, and data.train names shards; remove it");
    return std::make_unique<StreamLoader>(options);
  }
  if (static_cast<std::size_t>(stores) < train.size())
    throw UsageError(
        fmt::format("data.train: {} is no token store, but others there are; name stores only, or shards "
                    "only",
                    *std::ranges::find_if_not(train, is_store)));
  return std::make_unique<StoreLoader>(options);
}

}  // namespace spikesink
