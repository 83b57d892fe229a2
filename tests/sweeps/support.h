#pragma once
#include <fmt/format.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "sweeps/sweep_folder.h"

namespace spikesink::test {

/// A fresh folder of a sweep; removed at its end.
class ScratchSweep {
 public:
  ScratchSweep() {
    static std::atomic<int> count = 0;
    path_ = std::filesystem::temp_directory_path() / fmt::format("spikesink_sweeps_{}_{}", getpid(), count++);
    std::filesystem::create_directories(path_);
  }
  ~ScratchSweep() {
    std::error_code error;
    std::filesystem::remove_all(path_, error);
  }
  ScratchSweep(ScratchSweep&&) = delete;

  SweepFolder folder() const { return SweepFolder(path_.string()); }
  static void write(const std::string& file, const std::string& text) {
    std::filesystem::create_directories(std::filesystem::path(file).parent_path());
    std::ofstream(file, std::ios::binary) << text;
  }
  void metrics(const std::string& run, const std::string& text) const { write(folder().run(run).metrics(), text); }
  /// `text` without the folder's own path, so that messages can be compared whole.
  std::string shorten(std::string text) const {
    const std::string prefix = path_.string() + "/";
    for (std::size_t at; (at = text.find(prefix)) != std::string::npos;) text.erase(at, prefix.size());
    return text;
  }

 private:
  std::filesystem::path path_;
};

}  // namespace spikesink::test
