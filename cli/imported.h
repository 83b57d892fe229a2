#pragma once
#include <string>

#include "configs/config.h"

// A checkpoint that `import` made has no run: no text was held out, and its tokenizer lies in its own folder, below
// kHfFolder, by which data.tokenizer names it, so that the folder can be moved.
namespace spikesink::cli {

inline constexpr const char* kHfFolder = "huggingface";
inline constexpr const char* kNoTokenizer = "none.model";  ///< data.tokenizer where no readable one came along
inline constexpr const char* kNoText = "none.jsonl";       ///< data.train of an imported checkpoint

/// Names a tokenizer that lies in the checkpoint's folder by its whole path. UsageError where one is needed and none
/// came along, or text is asked of an imported checkpoint: data.validation is then empty.
void complete_imported(Config& config, const std::string& checkpoint);

}  // namespace spikesink::cli
