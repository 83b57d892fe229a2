#pragma once
#include <string>

#include "cli/imported.h"
#include "models/hf/hf_config.h"

namespace spikesink::cli {

/// data.tokenizer and data.begin_of_text of an imported checkpoint.
struct ImportedTokenizer {
  std::string spec = kNoTokenizer;
  bool begins = false;
};

/// Copies what a model's folder says of text, and its config.json, into kHfFolder of `checkpoint`, and finds a
/// tokenizer among it that can be read: sentencepiece's or tiktoken's file, or a tokenizer.json that is converted into
/// the latter. kNoTokenizer after saying what stands against each.
ImportedTokenizer import_tokenizer(const std::string& folder, const std::string& checkpoint, const HfModel& hf);

}  // namespace spikesink::cli
