#pragma once
#include <cstdint>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "io/file_descriptor.h"

namespace spikesink {

/// A file of one JSON value a line, which only grows. A line is with the system when append() returns, so a process
/// that is killed loses none. DataError if it cannot be opened or written, e.g. on a full disk; the file then ends with
/// the last whole line.
class JsonLines {
 public:
  explicit JsonLines(const std::string& path);
  /// `line` has no newline in it.
  void append(std::string_view line);

 private:
  FileDescriptor file_;
};

/// Rewrites the file with the lines for which `keep` is true, atomically, if that changes anything. A last line that
/// was torn by a crash is dropped silently; other lines that are not JSON are dropped too, after `damaged`
/// has them; their number is returned.
std::int64_t cut_back_json_lines(const std::string& path, const std::function<bool(const nlohmann::json&)>& keep,
                                 const std::function<void(std::string_view)>& damaged = {});

}  // namespace spikesink
