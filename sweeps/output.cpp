#include "sweeps/output.h"

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <iterator>

namespace spikesink {
namespace {
constexpr std::streamoff kRead = 64 << 10;  // more of it is not what was said last
constexpr std::size_t kLongest = 400;
constexpr std::string_view kError = "spikesink: ";

std::string shortened(std::string_view text) {
  std::string line(text.substr(0, kLongest));
  if (text.size() > kLongest) line += "...";
  std::ranges::replace_if(
      line, [](unsigned char c) { return std::iscntrl(c) != 0; }, ' ');
  return line;
}
}  // namespace

OutputEnd end_of_output(const std::string& file) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(file, error)) return {};
  std::ifstream in(file, std::ios::binary | std::ios::ate);
  if (!in) return {};
  in.seekg(std::max<std::streamoff>(0, std::streamoff{in.tellg()} - kRead));
  const std::string text((std::istreambuf_iterator<char>(in)), {});
  OutputEnd end;
  for (std::string_view rest = text; !rest.empty();) {
    const std::size_t length = std::min(rest.find('\n'), rest.size());
    const std::string_view line = rest.substr(0, length);
    rest.remove_prefix(std::min(length + 1, rest.size()));
    if (line.starts_with(kAttemptMark))
      end = {};
    else if (line.starts_with(kError))
      end.error = shortened(line.substr(kError.size()));
    if (line.find_first_not_of(" \t\r") != std::string_view::npos && !line.starts_with(kAttemptMark))
      end.last_line = shortened(line);
  }
  return end;
}

}  // namespace spikesink
