#include "data/loader.h"

#include "data/stream_loader.h"

namespace spikesink {

std::unique_ptr<Loader> make_loader(const LoaderOptions& options) { return std::make_unique<StreamLoader>(options); }

}  // namespace spikesink
