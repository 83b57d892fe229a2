#include "cli/new_folder.h"

#include <filesystem>

#include "io/atomic_file.h"
#include "io/failure.h"
#include "io/file_descriptor.h"
#include "trainer/checkpoint.h"

namespace spikesink::cli {
namespace fs = std::filesystem;

NewFolder::NewFolder(const std::string& path) {
  path_ = (fs::absolute(path) / "").parent_path().string();
  std::error_code error;
  if (fs::exists(path_, error))
    throw UsageError("--out " + path + ": exists already; name a new folder, or remove that one");
  unfinished_ = unfinished_name(path_);
  fs::remove_all(unfinished_, error);  // of a process that was killed
  if (fs::create_directories(unfinished_, error); error)
    throw DataError(path + ": cannot be made: " + error.message() + "; choose another folder");
}

NewFolder::~NewFolder() {
  std::error_code error;
  if (!committed_) fs::remove_all(unfinished_, error);
}

std::string NewFolder::name() const { return fs::path(path_).filename().string(); }

void NewFolder::commit() {
  commit_folder(unfinished_, path_);
  committed_ = true;
}

void copy_file(const std::string& from, const std::string& to) {
  std::error_code error;
  if (!fs::copy_file(from, to, error)) throw file_error(from, "copied", error.value());
}

}  // namespace spikesink::cli
