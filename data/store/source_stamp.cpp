#include "data/store/source_stamp.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <cerrno>

#include "data/store/token_source.h"
#include "io/file_descriptor.h"
#include "kernels/core/random.h"

namespace spikesink {
namespace {
std::string size_and_time(const std::string& path) {
  struct stat status {};
  if (stat(path.c_str(), &status) != 0) throw file_error(path, "opened", errno);
  return fmt::format("{} {} {}\n", status.st_size, status.st_mtim.tv_sec, status.st_mtim.tv_nsec);
}
}  // namespace

std::string source_stamp(const std::string& path) {
  std::string text = size_and_time(path);
  if (const auto index = index_of(path)) text += size_and_time(*index);
  return fmt::format("{:016x}", name_hash(text));
}

std::string stamp_of_all(const std::vector<std::string>& stamps) {
  return fmt::format("{:016x}", name_hash(fmt::format("{}", fmt::join(stamps, "\n"))));
}

}  // namespace spikesink
