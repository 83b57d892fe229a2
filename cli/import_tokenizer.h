#pragma once
#include <string>

#include "models/hf/hf_config.h"

namespace spikesink::cli {

/// Copies what a model's folder says of text, and its config.json, into kHfFolder of `checkpoint`, and finds a
/// tokenizer among it that can be read: sentencepiece's or tiktoken's file, or a tokenizer.json that is converted into
/// the latter. Returns data.tokenizer, as complete_imported() has it; kNoTokenizer after saying what stands against
/// each.
std::string import_tokenizer(const std::string& folder, const std::string& checkpoint, const HfModel& hf);

}  // namespace spikesink::cli
