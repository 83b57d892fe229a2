#pragma once
#include <string>
#include <vector>

#include "configs/config.h"
#include "data/document.h"
#include "data/tokenizer.h"

namespace spikesink::cli {

/// What a run says at its start of the data that it has.
struct RunData {
  std::vector<std::string> notes;  ///< lines for its log: each source, what is validated on, and what may not be meant
  std::string json;                ///< an object: {"sources": [...], "validation": ...}, as docs/file-formats.md has it
};
/// `held_out`: sequences that probes measure, and `counts` the lines read for them.
RunData describe_data(const Config& config, const Tokenizer& tokenizer, std::int64_t held_out,
                      const DocumentCounts& counts);

}  // namespace spikesink::cli
