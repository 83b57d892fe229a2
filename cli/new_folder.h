#pragma once
#include <string>

namespace spikesink::cli {

/// A folder that is made under another name and is there whole or not at all: it goes away again unless commit() comes.
class NewFolder {
 public:
  /// UsageError if `path` is there already; DataError if it cannot be made.
  explicit NewFolder(const std::string& path);
  ~NewFolder();
  NewFolder(const NewFolder&) = delete;
  NewFolder& operator=(const NewFolder&) = delete;

  /// Where to write until commit().
  const std::string& path() const { return unfinished_; }
  /// The last part of its name.
  std::string name() const;
  /// Syncs all that is in it and gives it its name. DataError.
  void commit();

 private:
  std::string path_, unfinished_;
  bool committed_ = false;
};

/// Copies a file; `to` must not exist. DataError.
void copy_file(const std::string& from, const std::string& to);

}  // namespace spikesink::cli
