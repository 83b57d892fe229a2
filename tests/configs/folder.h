#pragma once
#include <unistd.h>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "configs/reader.h"
#include "io/failure.h"

namespace spikesink::test {

/// A fresh folder for the files of one test; removed at its end.
class Folder {
 public:
  Folder() {
    static std::atomic<int> count = 0;
    path_ = std::filesystem::temp_directory_path() /
            ("spikesink_configs_" + std::to_string(getpid()) + "_" + std::to_string(count++));
    std::filesystem::create_directories(path_);
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  std::string path(const std::string& name) const { return (path_ / name).string(); }
  std::string write(const std::string& name, const std::string& text) const {
    const std::string file = path(name);
    std::filesystem::create_directories(std::filesystem::path(file).parent_path());
    std::ofstream(file, std::ios::binary) << text;
    return file;
  }
  /// `text` without the folder's own path, so that messages can be compared whole.
  std::string shorten(std::string text) const {
    const std::string prefix = path_.string() + "/";
    for (std::size_t at; (at = text.find(prefix)) != std::string::npos;) text.erase(at, prefix.size());
    return text;
  }
  /// The line that answers a wrong config, or "accepted".
  std::string refusal(const std::string& name, const std::vector<std::string>& overrides = {}) const {
    try {
      read_config(path(name), overrides);
    } catch (const UsageError& error) {
      return shorten(error.what());
    }
    return "accepted";
  }

 private:
  std::filesystem::path path_;
};

}  // namespace spikesink::test
