#include "data/shards.h"

#include <fmt/format.h>
#include <glob.h>

#include <algorithm>
#include <filesystem>
#include <set>
#include <system_error>

#include "io/failure.h"
#include "kernels/core/random.h"

namespace spikesink {
namespace {
namespace fs = std::filesystem;

/// The paths that one pattern names; a file whose own name looks like a pattern is taken as it stands.
std::vector<std::string> expand(const std::string& pattern) {
  std::error_code error;
  if (fs::exists(pattern, error)) return {pattern};
  glob_t found{};
  std::vector<std::string> paths;
  if (glob(pattern.c_str(), GLOB_BRACE | GLOB_TILDE, nullptr, &found) == 0)
    paths.assign(found.gl_pathv, found.gl_pathv + found.gl_pathc);
  globfree(&found);
  return paths;
}

bool is_shard_name(std::string_view name) {
  for (const std::string_view packing : {".zst", ".gz"})
    if (name.ends_with(packing)) {
      name.remove_suffix(packing.size());
      break;
    }
  return name.ends_with(".jsonl") || name.ends_with(".json");
}

Shard checked(const std::string& path, const std::string& key, const std::vector<std::string>& more_endings) {
  std::error_code error;
  if (fs::is_directory(path, error))
    throw DataError(fmt::format("{}: {} is a folder; name its shards, e.g. {}/*.jsonl.zst", key, path, path));
  const auto ends_so = [&](const std::string& ending) { return path.ends_with(ending); };
  if (!is_shard_name(path) && std::ranges::none_of(more_endings, ends_so))
    throw DataError(fmt::format("{}: {} is no .jsonl, .jsonl.zst or .jsonl.gz file{}{}; name only such shards", key,
                                path, more_endings.empty() ? "" : ", nor ", fmt::join(more_endings, " or ")));
  const std::uint64_t bytes = fs::file_size(path, error);
  if (error) throw DataError(fmt::format("{}: {} cannot be read: {}", key, path, error.message()));
  if (bytes == 0) throw DataError(fmt::format("{}: {} is empty; fetch it again or leave it out", key, path));
  return {path, bytes};
}

std::string current_folder() {
  std::error_code gone;
  const std::string path = fs::current_path(gone).string();
  return gone ? "which is gone" : path;
}

}  // namespace

std::vector<Shard> find_shards(const std::vector<std::string>& patterns, const std::string& key,
                               const std::vector<std::string>& more_endings) {
  if (patterns.empty()) throw DataError(key + ": names no shards; give files or globs, e.g. [data/*.jsonl.zst]");
  std::vector<std::string> paths;
  for (const std::string& pattern : patterns) {
    const std::vector<std::string> found = expand(pattern);
    if (found.empty()) {
      std::error_code error;
      if (const bool is_there = fs::exists(pattern, error); !is_there && error)
        throw DataError(fmt::format("{}: {} cannot be read: {}; check the path and its permissions", key, pattern,
                                    error.message()));
      const bool is_glob = pattern.find_first_of("*?[{") != std::string::npos;
      throw DataError(fmt::format("{}: {} {}; paths start from the folder that spikesink runs in ({})", key, pattern,
                                  is_glob ? "matches no file" : "does not exist", current_folder()));
    }
    paths.insert(paths.end(), found.begin(), found.end());
  }
  std::sort(paths.begin(), paths.end());
  std::vector<Shard> shards;
  std::set<std::string> seen;  // one file may come by several patterns, or by links
  for (const std::string& path : paths) {
    std::error_code error;
    const fs::path canonical = fs::canonical(path, error);
    if (seen.insert(error ? path : canonical.string()).second) shards.push_back(checked(path, key, more_endings));
  }
  return shards;
}

std::vector<std::string> names_of(const std::vector<Shard>& shards) {
  std::vector<std::string> paths;
  for (const Shard& shard : shards) paths.push_back(fs::absolute(shard.path).lexically_normal().string());
  std::size_t common = paths.empty() ? 0 : paths.front().rfind('/') + 1;  // bytes of the folder, with its slash
  for (const std::string& path : paths)
    while (path.compare(0, common, paths.front(), 0, common) != 0) common = path.rfind('/', common - 2) + 1;
  for (std::string& path : paths) path.erase(0, common);
  return paths;
}

std::string shards_fingerprint(const std::vector<Shard>& shards) {
  std::string text;
  std::uint64_t bytes = 0;
  for (const Shard& shard : shards) {
    text += fmt::format("{}\n{}\n", fs::path(shard.path).filename().string(), shard.bytes);
    bytes += shard.bytes;
  }
  return fmt::format("{} shards of {} bytes, {:016x}", shards.size(), bytes, name_hash(text));
}

}  // namespace spikesink
