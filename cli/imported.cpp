#include "cli/imported.h"

#include <fmt/format.h>

#include <filesystem>

#include "io/failure.h"

namespace spikesink::cli {

void complete_imported(Config& config, const std::string& checkpoint) {
  const std::string own = checkpoint + "/" + config.data.tokenizer;
  if (std::error_code error; std::filesystem::is_regular_file(own, error)) config.data.tokenizer = own;
  if (config.data.train != std::vector<std::string>{kNoText}) return;
  if (config.data.validation.empty())
    throw UsageError(fmt::format("{}: was imported, so no text is held out for it; name some with --data", checkpoint));
  if (config.data.tokenizer == kNoTokenizer)
    throw UsageError(
        fmt::format("{}: no tokenizer came along that this program reads; name one with --tokenizer FILE", checkpoint));
}

}  // namespace spikesink::cli
