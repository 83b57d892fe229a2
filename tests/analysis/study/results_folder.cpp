#include "analysis/study/results_folder.h"

#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>

#include "analysis/study/distribution.h"
#include "io/atomic_file.h"
#include "io/failure.h"
#include "io/h5.h"

namespace spikesink {
namespace {
namespace fs = std::filesystem;
using Catch::Matchers::Contains;

struct Folder {
  Folder() : path((fs::temp_directory_path() / ("spikesink_results_" + std::to_string(getpid()))).string()) {
    fs::remove_all(path);
  }
  ~Folder() { fs::remove_all(path); }
  std::string path;
};

ResultsSource some_source() {
  return {.checkpoint = "runs/a/checkpoints/step_00000100",
          .checkpoint_sum = "abc",
          .step = 100,
          .sequences = 5,
          .length = 64,
          .context_sequences = 2,
          .context = 128,
          .text_sum = "def",
          .precision = "f32",
          .sink_epsilon = 0.3,
          .spike_abs = 100,
          .spike_ratio = 1000};
}

Results some_results(double value) {
  Results results;
  results.array("group/values", std::vector<double>{value, 2 * value}, {2}, "tokens", "(place): something");
  results.array("none", std::vector<std::int64_t>{}, {3, 0}, "1", "(place, nothing): nothing");
  results.summary["value"] = value;
  return results;
}

nlohmann::json summary_of(const std::string& folder) {
  return nlohmann::json::parse(read_file(folder + "/summary.json"));
}

}  // namespace

TEST_CASE("results are added to a folder, in place of older ones of the same analysis", "[analysis][study]") {
  const Folder folder;
  { ResultsFolder(folder.path, some_source()).put("first", some_results(1)); }
  {
    ResultsSource moved = some_source();
    moved.checkpoint = "elsewhere/step_00000100";  // the same files in another place
    ResultsFolder again(folder.path, moved);
    again.put("second", some_results(2));
    again.put("second", some_results(3));
  }
  const H5File file = H5File::open(folder.path + "/analysis.h5");
  CHECK(file.children("/") == std::vector<std::string>{"first", "second"});
  CHECK(file.read<double>("first/group/values") == std::vector<double>{1, 2});
  CHECK(file.read<double>("second/group/values") == std::vector<double>{3, 6});
  CHECK(file.dims("first/none") == std::vector<std::int64_t>{3, 0});
  for (const char* name : {"first/group/values", "second/group/values"}) {
    CHECK(file.text_attribute(name, "unit") == "tokens");
    CHECK(file.text_attribute(name, "meaning") == "(place): something");
  }
  CHECK(file.number_attribute<std::int64_t>("/", "step") == 100);
  CHECK(file.number_attribute<double>("/", "spike_ratio") == 1000);
  CHECK(file.text_attribute("/", "precision") == "f32");
  const auto summary = summary_of(folder.path);
  CHECK(summary["first"]["value"] == 1);
  CHECK(summary["second"]["value"] == 3);
  CHECK(summary["source"]["sequences"] == 5);
  CHECK(!fs::exists(folder.path + "/analysis.h5.unfinished"));
}

TEST_CASE("results of another source are refused with what differs, and nothing is changed", "[analysis][study]") {
  const Folder folder;
  { ResultsFolder(folder.path, some_source()).put("first", some_results(1)); }
  const std::string before = read_file(folder.path + "/analysis.h5");
  const auto refused = [&](auto change, const char* what) {
    ResultsSource source = some_source();
    change(source);
    CHECK_THROWS_WITH(ResultsFolder(folder.path, source), Contains(what) && Contains("--out"));
    CHECK_THROWS_AS(ResultsFolder(folder.path, source), UsageError);
  };
  refused([](auto& s) { s.checkpoint_sum = "xyz"; }, "another checkpoint, \"runs/a/checkpoints/step_00000100\"");
  refused([](auto& s) { s.length = 32; }, "length 64, this run has 32");
  refused([](auto& s) { s.text_sum = "other"; }, "another text");
  refused([](auto& s) { s.spike_abs = 10; }, "spike_abs 100.0, this run has 10.0");
  CHECK(read_file(folder.path + "/analysis.h5") == before);
}

TEST_CASE("an analysis that one of the two files lacks is not kept as if it were whole", "[analysis][study]") {
  const Folder folder;
  { ResultsFolder(folder.path, some_source()).put("first", some_results(1)); }
  fs::remove(folder.path + "/summary.json");  // as a stop between the two files leaves it
  { ResultsFolder(folder.path, some_source()).put("second", some_results(2)); }
  CHECK(H5File::open(folder.path + "/analysis.h5").children("/") == std::vector<std::string>{"second"});
  CHECK(!summary_of(folder.path).contains("first"));
}

TEST_CASE("damaged results are refused in one line that names the file", "[analysis][study]") {
  const Folder folder;
  { ResultsFolder(folder.path, some_source()).put("first", some_results(1)); }
  write_atomically(folder.path + "/summary.json", "{\"first\"");
  CHECK_THROWS_WITH(ResultsFolder(folder.path, some_source()), Contains("summary.json"));
  write_atomically(folder.path + "/analysis.h5", "no HDF5");
  CHECK_THROWS_AS(ResultsFolder(folder.path, some_source()), DataError);
}

TEST_CASE("a folder of other things is refused and left as it is", "[analysis][study]") {
  const Folder folder;
  fs::create_directories(folder.path);
  write_atomically(folder.path + "/summary.json", "{}");
  CHECK_THROWS_WITH(ResultsFolder(folder.path, some_source()), Contains("other things than an analysis"));
  CHECK_THROWS_AS(ResultsFolder(folder.path, some_source()), UsageError);
  CHECK(std::distance(fs::directory_iterator(folder.path), {}) == 1);
  fs::remove(folder.path + "/summary.json");
  { ResultsFolder(folder.path, some_source()); }  // and stopped before its first result
  { ResultsFolder(folder.path, some_source()).put("first", some_results(1)); }
}

TEST_CASE("one process at a time writes into a folder of results", "[analysis][study]") {
  const Folder folder;
  const ResultsFolder held(folder.path, some_source());
  CHECK_THROWS_AS(ResultsFolder(folder.path, some_source()), UsageError);
}

TEST_CASE("quartiles lie between values as NumPy's do", "[analysis][study]") {
  const auto d = distribution({4, 1, 3, 10});
  CHECK(d["mean"] == 4.5);
  CHECK(d["min"] == 1);
  CHECK(d["q1"] == 2.5);
  CHECK(d["median"] == 3.5);
  CHECK(d["q3"] == 5.5);
  CHECK(d["max"] == 10);
  CHECK(distribution({7})["q3"] == 7);
  CHECK(distribution({}).dump().find("null") != std::string::npos);
}

}  // namespace spikesink
