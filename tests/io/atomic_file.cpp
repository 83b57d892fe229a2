#include "io/atomic_file.h"

#include "scratch.h"

namespace spikesink {
namespace fs = std::filesystem;
using Catch::Matchers::Contains;
using Catch::Matchers::StartsWith;

TEST_CASE("write_atomically makes or replaces a file and leaves nothing beside it", "[io]") {
  const TempFolder folder;
  const std::string path = folder / "state.json", binary("a\0b\n", 4);
  for (const std::string& text : {std::string("first"), std::string(), binary, std::string(3 << 20, 'x')}) {
    write_atomically(path, text);
    CHECK(slurp(path) == text);
    CHECK(read_file(path) == text);
    CHECK(folder.names() == std::set<std::string>{"state.json"});
  }
}

TEST_CASE("write_atomically works on a name without a folder", "[io]") {
  const TempFolder folder;
  const fs::path before = fs::current_path();
  fs::current_path(folder.path());
  write_atomically("here", "text");
  fs::current_path(before);
  CHECK(slurp(folder / "here") == "text");
}

TEST_CASE("a full disk leaves the old file, and nothing beside it", "[io]") {
  const TempFolder folder;
  const std::string path = folder / "state.json";
  write_atomically(path, "old");
  std::string message;
  {
    const FileSizeLimit limit(1000);
    message = message_of([&] { write_atomically(path, std::string(5000, 'x')); });
  }
  CHECK_THAT(message, StartsWith(path + ": cannot be written: File too large; "));
  CHECK(slurp(path) == "old");
  CHECK(folder.names() == std::set<std::string>{"state.json"});
}

TEST_CASE("files that cannot be written or read say so by their own name", "[io]") {
  const TempFolder folder;
  fs::create_directory(folder / "taken");
  spill(folder / "taken/file", "");
  CHECK_THAT(message_of([&] { write_atomically(folder / "no/state.json", "x"); }),
             StartsWith((folder / "no/state.json") + ": cannot be opened for writing: No such file or directory; "));
  CHECK_THAT(message_of([&] { write_atomically(folder / "taken", "x"); }),
             StartsWith((folder / "taken: cannot be put in place") + ": "));
  CHECK_THAT(message_of([&] { read_file(folder / "none"); }),
             StartsWith((folder / "none") + ": cannot be opened: No such file or directory; "));
  CHECK_THAT(message_of([&] { read_file(folder.path()); }), Contains("Is a directory"));
  CHECK(folder.names() == std::set<std::string>{"taken"});
}

TEST_CASE("read_file reads what tells no size", "[io]") { CHECK(read_file("/proc/self/status").size() > 100); }

TEST_CASE("commit_file puts a file in the place of another", "[io]") {
  const TempFolder folder;
  spill(folder / "a.unfinished", "new");
  spill(folder / "a", "old");
  commit_file(folder / "a.unfinished", folder / "a");
  CHECK(slurp(folder / "a") == "new");
  CHECK(folder.names() == std::set<std::string>{"a"});
  CHECK_THAT(message_of([&] { commit_file(folder / "none", folder / "a"); }), StartsWith((folder / "none") + ": "));
  CHECK(slurp(folder / "a") == "new");
}

TEST_CASE("commit_folder moves all that is in a folder, and refuses a place that is taken", "[io]") {
  const TempFolder folder;
  const auto make = [&](const std::string& name, const std::string& text) {
    fs::create_directories(folder / (name + "/sub/deep"));
    spill(folder / (name + "/sub/deep/file"), text);
    spill(folder / (name + "/file"), text);
    fs::create_symlink("missing", folder / (name + "/link"));  // must not be followed
  };
  make("step.unfinished", "1");
  commit_folder(folder / "step.unfinished", folder / "step");
  CHECK(folder.names() == std::set<std::string>{"step"});
  CHECK(slurp(folder / "step/sub/deep/file") == "1");
  CHECK(slurp(folder / "step/file") == "1");

  make("step.unfinished", "2");
  CHECK_THAT(message_of([&] { commit_folder(folder / "step.unfinished", folder / "step"); }),
             StartsWith((folder / "step") + ": cannot be put in place: Directory not empty; "));
  CHECK(slurp(folder / "step/file") == "1");
  CHECK(slurp(folder / "step.unfinished/file") == "2");
  CHECK_THAT(message_of([&] { commit_folder(folder / "none", folder / "other"); }),
             StartsWith((folder / "none") + ": "));
}

TEST_CASE("replace_link makes a link and moves it, dangling or not", "[io]") {
  const TempFolder folder;
  const std::string link = folder / "latest";
  for (const char* target : {"step_1", "step_2", "step_2"}) {
    replace_link(link, target);
    CHECK(fs::read_symlink(link) == target);
    CHECK(folder.names() == std::set<std::string>{"latest"});
  }
  fs::create_directory(folder / "folder");
  CHECK_THAT(message_of([&] { replace_link(folder / "folder", "step_1"); }), StartsWith((folder / "folder") + ": "));
  CHECK(folder.names() == std::set<std::string>{"folder", "latest"});
}

}  // namespace spikesink
