#pragma once
#include <filesystem>
#include <string>
#include <vector>

// What is in a folder. That it cannot be told is never taken for nothing: who goes on from nothing removes what there
// is, or writes over it. All throw DataError with the system's reason.
namespace spikesink {

/// What `path` is, itself or where it leads as a link: not_found if nothing is there.
std::filesystem::file_type type_of(const std::string& path, bool follow = true);
/// Is something there, where it leads if it is a link?
bool is_there(const std::string& path);
/// Refuses a link to what is not there, as on a disk that is missing.
void require_target(const std::string& path);
/// The paths of a folder's entries; a folder that is not there has none. Calls require_target().
std::vector<std::filesystem::path> entries_of(const std::string& folder);

}  // namespace spikesink
