#include "io/listing.h"

#include <fmt/format.h>

#include <system_error>

#include "io/file_descriptor.h"

namespace spikesink {
namespace fs = std::filesystem;

fs::file_type type_of(const std::string& path, bool follow) {
  std::error_code error;
  const fs::file_type type = (follow ? fs::status(path, error) : fs::symlink_status(path, error)).type();
  if (type == fs::file_type::none) throw file_error(path, "looked at", error.value());
  return type;
}

bool is_there(const std::string& path) { return type_of(path) != fs::file_type::not_found; }

void require_target(const std::string& path) {
  if (type_of(path, false) != fs::file_type::symlink || is_there(path)) return;
  throw DataError(fmt::format("{}: a link to {}, which is not there; mount its disk, make that, or remove the link",
                              path, fs::read_symlink(path).string()));
}

std::vector<fs::path> entries_of(const std::string& folder) {
  require_target(folder);
  if (!is_there(folder)) return {};
  std::error_code error;
  std::vector<fs::path> paths;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error))
    paths.push_back(at->path());
  if (error) throw file_error(folder, "listed", error.value());
  return paths;
}

}  // namespace spikesink
