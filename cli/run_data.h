#pragma once
#include <string>
#include <vector>

#include "configs/config.h"
#include "data/data_record.h"
#include "data/document.h"
#include "data/tokenizer.h"
#include "trainer/dist/communicator.h"

namespace spikesink::cli {

/// What a run says at its start of the data that it has.
struct RunData {
  std::vector<std::string> notes;  ///< lines for its log: each source, what is validated on, and what may not be meant
  std::string json;                ///< an object: {"sources": [...], "validation": ...}, as docs/file-formats.md has it
};
/// `held_out`: sequences that probes measure, and `counts` the lines read for them.
RunData describe_data(const Config& config, const Tokenizer& tokenizer, std::int64_t held_out,
                      const DocumentCounts& counts);

/// Before the first step: DataError, the same on all ranks, if one of them sees other data than rank 0 does, as on
/// disks of their own, since samples of both would be trained on. `mine`: this rank's. All ranks call.
void require_same_on_all_ranks(const DataRecord& mine, Communicator& ranks);

}  // namespace spikesink::cli
