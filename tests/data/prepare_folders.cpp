#include <catch2/catch.hpp>

#include "prepare_setup.h"

using namespace spikesink;
using Catch::Matchers::Contains;
using test::lines_with;
using Setup = test::PrepareSetup;
namespace fs = std::filesystem;

TEST_CASE("folders of something else are left alone", "[data][prepare]") {
  const Setup setup;
  setup.shard("a.jsonl", lines_with({"some", "text"}));
  const auto options = setup.options("s", {setup.folder / "a.jsonl"});
  const std::string refusal = options.out + ": is there, and no token store; choose another --out, or remove it";
  SECTION("a folder that is empty will do") {
    fs::create_directories(options.out);
    CHECK(setup.refusal(options).empty());
  }
  SECTION("a folder with files") {
    fs::create_directories(options.out);
    test::write(options.out + "/notes.txt", "mine");
    CHECK(setup.refusal(options) == refusal);
  }
  SECTION("somebody's own folder named parts") {
    fs::create_directories(options.out + "/parts");
    test::write(options.out + "/parts/wheel", "mine");
    CHECK(setup.refusal(options) == refusal);
    CHECK(read_file(options.out + "/parts/wheel") == "mine");
  }
  SECTION("a file") {
    test::write(options.out, "mine");
    CHECK(setup.refusal(options) == refusal);
  }
  SECTION("a folder that cannot be made") {
    test::write(setup.folder / "file", "mine");
    auto changed = options;
    changed.out = setup.folder / "file/s";
    CHECK_THAT(setup.refusal(changed), Contains("/parts: cannot be made: Not a directory"));
  }
}

TEST_CASE("limits that leave nothing are refused", "[data][prepare]") {
  const Setup setup;
  setup.shard("a.jsonl", lines_with({"some"}));
  auto options = setup.options("s", {setup.folder / "a.jsonl"});
  options.min_bytes = 10;
  options.max_bytes = 9;
  CHECK_THAT(setup.refusal(options), Contains("--min-bytes 10 is above --max-bytes 9"));
}

TEST_CASE("a shard's name need not be UTF-8", "[data][prepare]") {
  const Setup setup;
  setup.shard("a\xff.jsonl", lines_with({"some"}) + "broken\n");
  auto options = setup.options("s", {setup.folder / "*.jsonl"});
  options.max_bad_share = 0.5;
  CHECK(setup.refusal(options).empty());
  CHECK(setup.refusal(options).empty());
}
