#include <catch2/catch.hpp>
#include <filesystem>

#include "io/atomic_file.h"
#include "io/failure.h"
#include "tests/fuzz/target.h"

namespace spikesink {
namespace {
namespace fs = std::filesystem;

std::vector<fs::path> corpus_of(const fuzz::Target& target) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(fs::path("tests/fuzz/corpus") / target.name))
    files.push_back(entry.path());
  std::ranges::sort(files);
  return files;
}

}  // namespace

TEST_CASE("what fuzzing found ends in success or in a failure of one line", "[fuzz]") {
  REQUIRE(fuzz::targets().size() >= 10);
  for (const fuzz::Target& target : fuzz::targets()) {
    const auto files = corpus_of(target);
    CHECK(files.size() > 3);
    for (const fs::path& file : files) {
      INFO(file.string());
      CHECK_NOTHROW(fuzz::run(target, read_file(file.string())));
    }
  }
}

TEST_CASE("a corpus that no target reads is noticed", "[fuzz]") {
  for (const auto& entry : fs::directory_iterator("tests/fuzz/corpus")) {
    INFO(entry.path().string());
    CHECK(std::ranges::count(fuzz::targets(), entry.path().filename().string(), &fuzz::Target::name) == 1);
  }
}

TEST_CASE("a target's run tells a failure of one line from all else", "[fuzz]") {
  CHECK_NOTHROW(fuzz::run({"", [](std::string_view) { throw DataError("x: is broken; mend it"); }}, ""));
  CHECK_THROWS(fuzz::run({"", [](std::string_view) { throw DataError(""); }}, ""));
  CHECK_THROWS(fuzz::run({"", [](std::string_view) { throw std::out_of_range("vector"); }}, ""));
}

}  // namespace spikesink
