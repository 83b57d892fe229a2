#include "data/loader.h"

#include <fmt/format.h>

#include "data/store/store_loader.h"
#include "data/stream_loader.h"
#include "data/toy/bigram_backcopy.h"
#include "data/train_data.h"
#include "io/failure.h"

namespace spikesink {

Fingerprint fingerprint_of_settings(const LoaderOptions& o) {
  return {{"data.begin_of_text", o.data.begin_of_text ? "true" : "false"},
          {"model.context", fmt::format("{}", o.context)},
          {"train.batch_tokens", fmt::format("{} sequences a step", o.sequences)},
          {"run.seed", fmt::format("{}", o.seed)}};
}

std::unique_ptr<Loader> make_loader(const LoaderOptions& options) {
  const bool toy = is_bigram_backcopy(options.data.train, "data.train");
  if (toy || !are_stores(options.data.train, "data.train")) {
    if (!options.data.weights.empty())
      throw UsageError("data.weights: has an effect only with token stores, and data.train names none; remove it");
    if (toy) return std::make_unique<BigramBackcopyLoader>(options);
    return std::make_unique<StreamLoader>(options);
  }
  return std::make_unique<StoreLoader>(options);
}

}  // namespace spikesink
