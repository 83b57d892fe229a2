#pragma once
#include <string>
#include <string_view>

namespace spikesink {

// Files and folders that are there whole or not at all, whatever stops the program or the machine: contents are synced
// to the disk under another name, then renamed, then the folder's entry is synced. All throw DataError with the
// system's reason.

/// Makes `path` hold `text`. A failure leaves the old file as it was, and nothing beside it.
void write_atomically(const std::string& path, std::string_view text);

/// The bytes of a file.
std::string read_file(const std::string& path);

/// A name beside `path`, ".unfinished." and more, that nobody else uses, on another machine or in another container
/// neither, where process ids are the same: for what is written before it is put in place. It does not contain the
/// file's own name, which others watch for.
std::string unfinished_beside(const std::string& path);

/// Renames `from` to `to` (of the same file system), in whose place it comes, and syncs the folder's entry.
void rename_and_sync(const std::string& from, const std::string& to);

/// Syncs `from`, then renames it to `to` (of the same file system), in whose place it comes.
void commit_file(const std::string& from, const std::string& to);

/// As commit_file() for a folder and all that is in it. `to` must not exist, or be an empty folder.
void commit_folder(const std::string& from, const std::string& to);

/// Makes `link` a symbolic link to `target`, whether it was one before or not; at no time is there no link.
void replace_link(const std::string& link, const std::string& target);

}  // namespace spikesink
