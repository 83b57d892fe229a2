#include "io/json_lines.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <nlohmann/json.hpp>
#include <sstream>

#include "io/atomic_file.h"
#include "io/listing.h"

namespace spikesink {

JsonLines::JsonLines(const std::string& path) : file_(FileDescriptor::open(path, O_RDWR | O_APPEND | O_CREAT)) {
  // After a torn line the next one would be lost with it.
  char last = '\n';
  if (const std::int64_t size = file_.size(); size > 0 && pread(file_.get(), &last, 1, size - 1) == 1 && last != '\n')
    file_.append("\n");
}

void JsonLines::append(std::string_view line) {
  assert(line.find('\n') == std::string_view::npos);
  file_.append(std::string(line) + '\n');
}

void for_each_json_line(const std::string& path, const std::function<void(const nlohmann::json&)>& f) {
  std::istringstream in(is_there(path) ? read_file(path) : "");
  for (std::string line; std::getline(in, line);) {
    try {
      f(nlohmann::json::parse(line));
    } catch (const nlohmann::json::exception&) {
    }
  }
}

JsonLinesCut read_json_lines_cut(const std::string& path, const std::function<LineFate(const nlohmann::json&)>& fate) {
  const std::string text = read_file(path);
  std::string kept, damaged;
  for (std::string_view rest = text; !rest.empty();) {
    const std::size_t end = rest.find('\n');
    const bool ended = end != std::string_view::npos;
    const std::string_view line = rest.substr(0, end);
    rest.remove_prefix(ended ? end + 1 : rest.size());
    if (line.empty()) continue;
    const auto json = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    // A number that lost its end is still one; an object is whole if it parses.
    const bool whole = !json.is_discarded() && (ended || json.is_structured());
    if (!whole && !ended) continue;
    switch (whole ? fate(json) : LineFate::kDamaged) {
      case LineFate::kStays:
        kept.append(line) += '\n';
        break;
      case LineFate::kGoes:
        break;
      case LineFate::kDamaged:
        damaged.append(line) += '\n';
    }
  }
  JsonLinesCut cut{.path = path, .kept = {}, .damaged = std::move(damaged)};
  if (kept != text) cut.kept = std::move(kept);
  return cut;
}

std::int64_t JsonLinesCut::make(const std::function<void(std::string_view)>& keep_damaged) const {
  if (!damaged.empty() && keep_damaged) keep_damaged(damaged);
  if (kept) write_atomically(path, *kept);
  return std::ranges::count(damaged, '\n');
}

std::int64_t cut_back_json_lines(const std::string& path, const std::function<LineFate(const nlohmann::json&)>& fate,
                                 const std::function<void(std::string_view)>& keep_damaged) {
  return read_json_lines_cut(path, fate).make(keep_damaged);
}

}  // namespace spikesink
