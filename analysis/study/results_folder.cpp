#include "analysis/study/results_folder.h"

#include <fmt/format.h>

#include <filesystem>
#include <optional>
#include <type_traits>

#include "io/atomic_file.h"
#include "io/failure.h"
#include "io/h5.h"
#include "io/json_text.h"
#include "io/listing.h"

namespace spikesink {
namespace fs = std::filesystem;
namespace {

constexpr const char* kArrays = "analysis.h5";
constexpr const char* kSummary = "summary.json";
constexpr const char* kSource = "source";
constexpr const char* kLock = "/analyze.lock";

/// The folder, made if it is not there. One that has other things than results is refused: a run, a checkpoint.
const std::string& made(const std::string& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  const bool empty = !error && fs::is_empty(folder, error);
  if (error) throw DataError(folder + ": cannot be made: " + error.message() + "; name another folder by --out");
  if (!empty && !is_there(folder + kLock) && !is_there(folder + "/" + kArrays))
    throw UsageError(folder + ": has other things than an analysis; name a new folder by --out");
  return folder;
}

nlohmann::ordered_json json_of(ResultsSource source) {
  nlohmann::ordered_json out = nlohmann::ordered_json::object();
  source.fields([&](const char* key, auto& value) { out[key] = value; });
  return out;
}

ResultsSource read_source(const H5File& file) {
  ResultsSource source;
  source.fields([&](const char* key, auto& value) {
    using T = std::remove_reference_t<decltype(value)>;
    if constexpr (std::is_same_v<T, std::string>)
      value = file.text_attribute("/", key);
    else
      value = file.number_attribute<T>("/", key);
  });
  return source;
}

void write_array(H5File& file, const std::string& group, const Results::Array& array) {
  const std::string name = group + "/" + array.name;
  std::visit([&]<class T>(const std::vector<T>& values) { file.write<T>(name, values, array.dims); }, array.values);
  file.attribute(name, "unit", array.unit);
  file.attribute(name, "meaning", array.meaning);
}

/// The first difference that makes figures incomparable, as text, or empty.
std::string difference(const ResultsSource& there, const ResultsSource& here) {
  const auto was = json_of(there), is = json_of(here);
  for (const auto& [key, value] : is.items())
    if (key != "checkpoint" && was.at(key) != value)
      return key == "text_sum" ? "of another text"
             : key == "checkpoint_sum"
                 ? fmt::format("of another checkpoint, {}", json_text(was.at("checkpoint")))
                 : fmt::format("with {} {}, this run has {}", key, json_text(was.at(key)), json_text(value));
  return "";
}

}  // namespace

ResultsFolder::ResultsFolder(std::string folder, ResultsSource source)
    : folder_(std::move(folder)),
      source_(std::move(source)),
      lock_(made(folder_) + kLock, "name another folder by --out"),
      summary_{{kSource, json_of(source_)}} {
  open();
}

void ResultsFolder::open() {
  if (!is_there(file(kArrays))) return;
  if (const std::string other = difference(read_source(H5File::open(file(kArrays))), source_); !other.empty())
    throw UsageError(
        fmt::format("{}: has results {}; name another folder by --out, or take this one away", folder_, other));
  if (!is_there(file(kSummary))) return;
  const auto old = nlohmann::ordered_json::parse(read_file(file(kSummary)), nullptr, /*allow_exceptions=*/false);
  if (!old.is_object())
    throw DataError(file(kSummary) + ": is no JSON object; take the folder away and run the analyses again");
  for (const auto& [name, figures] : old.items())
    if (name != kSource) summary_[name] = figures;
}

void ResultsFolder::put(const std::string& name, const Results& results) {
  const std::string unfinished = file(kArrays) + std::string(".unfinished");
  {
    std::optional<H5File> old;
    if (is_there(file(kArrays))) old = H5File::open(file(kArrays));
    H5File out = H5File::create(unfinished);
    source_.fields([&](const char* key, const auto& value) { out.attribute("/", key, value); });
    if (old)
      for (const std::string& other : old->children("/"))
        if (other != name && summary_.contains(other)) out.copy(*old, other);  // whole only if both files have it
    for (const Results::Array& array : results.arrays()) write_array(out, name, array);
    out.close();
  }
  commit_file(unfinished, file(kArrays));
  summary_[name] = results.summary;
  write_atomically(file(kSummary), json_text(summary_, 2) + "\n");
}

}  // namespace spikesink
