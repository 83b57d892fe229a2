#pragma once
#include <cstdint>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <optional>
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

/// f(line) for each line of the file that is JSON, if the file is there. Half a line, of who was killed, is left out,
/// and so is one of which `f` throws a nlohmann::json::exception: it lacks what `f` asks for. DataError if it cannot be
/// read.
void for_each_json_line(const std::string& path, const std::function<void(const nlohmann::json&)>& f);

/// What becomes of a line when a file is cut back.
enum class LineFate { kStays, kGoes, kDamaged };

/// A cut back of a file that was read, and is not made yet.
struct JsonLinesCut {
  std::string path;
  std::optional<std::string> kept;  ///< the file's new contents, if that changes anything
  std::string damaged;              ///< lines, each with a newline

  /// Rewrites the file, atomically. As cut_back_json_lines().
  std::int64_t make(const std::function<void(std::string_view)>& keep_damaged = {}) const;
};
/// The reading half of cut_back_json_lines().
JsonLinesCut read_json_lines_cut(const std::string& path, const std::function<LineFate(const nlohmann::json&)>& fate);

/// Rewrites the file with the lines that stay, atomically, if that changes anything. A last line that was torn by a
/// crash goes silently. Other lines that are not JSON are damaged, as are those of which `fate` says so: `keep_damaged`
/// is given all of them, each with a newline, before the file is rewritten; their number is returned.
std::int64_t cut_back_json_lines(const std::string& path, const std::function<LineFate(const nlohmann::json&)>& fate,
                                 const std::function<void(std::string_view)>& keep_damaged = {});

}  // namespace spikesink
