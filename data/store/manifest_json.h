#pragma once
#include <nlohmann/json.hpp>

#include "data/store/manifest.h"

namespace spikesink {

// Parts of a manifest as JSON. Those that read throw nlohmann's exceptions.
nlohmann::ordered_json json_of(const StoreFile& file);
nlohmann::ordered_json json_of(const DocumentCounts& lines);
StoreFile store_file_of(const nlohmann::ordered_json& json);
DocumentCounts document_counts_of(const nlohmann::ordered_json& json);

}  // namespace spikesink
