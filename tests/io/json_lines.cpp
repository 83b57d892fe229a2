#include "io/json_lines.h"

#include <sys/wait.h>

#include <nlohmann/json.hpp>

#include "scratch.h"

namespace spikesink {
using Catch::Matchers::Contains;
using Catch::Matchers::StartsWith;
namespace {
LineFate up_to_2(const nlohmann::json& line) {
  return line.value("step", 99) <= 2 ? LineFate::kStays : LineFate::kGoes;
}
}  // namespace

TEST_CASE("JsonLines appends, also to a file that is there", "[io]") {
  const TempFolder folder;
  const std::string path = folder / "metrics.jsonl";
  JsonLines(path).append(R"({"step":1})");
  JsonLines lines(path);
  lines.append(R"({"step":2})");
  CHECK(slurp(path) == "{\"step\":1}\n{\"step\":2}\n");
  lines.append(R"({"step":3})");
  CHECK(slurp(path) == "{\"step\":1}\n{\"step\":2}\n{\"step\":3}\n");
}

TEST_CASE("a process that is killed loses no line that was appended", "[io]") {
  const TempFolder folder;
  const std::string path = folder / "metrics.jsonl";
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    JsonLines lines(path);
    for (int i = 0; i < 100; ++i) lines.append(fmt::format("{}", i));
    kill(getpid(), SIGKILL);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  REQUIRE(WIFSIGNALED(status));
  std::string want;
  for (int i = 0; i < 100; ++i) want += fmt::format("{}\n", i);
  CHECK(slurp(path) == want);
}

TEST_CASE("JsonLines does not put a line on the end of a torn one", "[io]") {
  const TempFolder folder;
  const std::string path = folder / "metrics.jsonl";
  spill(path, "{\"step\":1}\n{\"st");
  JsonLines(path).append(R"({"step":2})");
  CHECK(slurp(path) == "{\"step\":1}\n{\"st\n{\"step\":2}\n");
}

TEST_CASE("a full disk is told, and takes back the torn line", "[io]") {
  if (std::filesystem::exists("/dev/full")) {
    JsonLines full("/dev/full");
    CHECK_THAT(message_of([&] { full.append("1"); }),
               StartsWith("/dev/full: cannot be written: No space left on device; free some space"));
  }
  const TempFolder folder;
  const std::string path = folder / "metrics.jsonl";
  JsonLines lines(path);
  lines.append("[1]");
  {
    const FileSizeLimit limit(10);  // takes the first bytes of the next line only
    CHECK_THAT(message_of([&] { lines.append("[1,2,3,4,5,6,7]"); }), StartsWith(path + ": cannot be written: "));
  }
  CHECK(slurp(path) == "[1]\n");
  lines.append("[2]");
  CHECK(slurp(path) == "[1]\n[2]\n");
  CHECK_THAT(message_of([&] { JsonLines(folder / "no/metrics.jsonl"); }), Contains("No such file or directory"));
}

TEST_CASE("cut_back_json_lines keeps the lines that are wanted, byte by byte", "[io]") {
  const TempFolder folder;
  const std::string path = folder / "metrics.jsonl";
  spill(path, "{\"step\": 1, \"x\": 0.10}\n{\"step\":2}\n{\"step\":3}\n{\"step\":2, \"b\":1}\n");
  CHECK(cut_back_json_lines(path, up_to_2) == 0);
  CHECK(slurp(path) == "{\"step\": 1, \"x\": 0.10}\n{\"step\":2}\n{\"step\":2, \"b\":1}\n");
  CHECK(folder.names() == std::set<std::string>{"metrics.jsonl"});
}

TEST_CASE("cut_back_json_lines drops a line that was torn at any byte, without counting it", "[io]") {
  const TempFolder folder;
  const std::string path = folder / "metrics.jsonl", last = R"({"step":2,"loss":1.25})";
  for (std::size_t bytes = 0; bytes <= last.size(); ++bytes) {
    spill(path, "{\"step\":1}\n" + last.substr(0, bytes));
    CHECK(cut_back_json_lines(path, up_to_2) == 0);
    CHECK(slurp(path) == (bytes == last.size() ? "{\"step\":1}\n" + last + "\n" : "{\"step\":1}\n"));
  }
  spill(path, "12\n34");  // 34 may have been 345
  CHECK(cut_back_json_lines(path, [](const auto&) { return LineFate::kStays; }) == 0);
  CHECK(slurp(path) == "12\n");
}

TEST_CASE("cut_back_json_lines drops and counts damaged lines in the middle", "[io]") {
  const TempFolder folder;
  const std::string path = folder / "metrics.jsonl";
  spill(path, std::string("{\"step\":1}\n\n{\"st{\"step\":2}\n") + std::string(20, '\0') +
                  "\n{\"a\":\"\xFF\"}\n{\"step\":2}\n");
  CHECK(cut_back_json_lines(path, up_to_2) == 3);
  CHECK(slurp(path) == "{\"step\":1}\n{\"step\":2}\n");
}

TEST_CASE("cut_back_json_lines hands out what is damaged before it takes it out", "[io]") {
  const TempFolder folder;
  const std::string path = folder / "metrics.jsonl", text = "{\"step\":1}\n{\"st\n{\"stop\":2}\n{\"step\":3}\n";
  const auto fate = [](const nlohmann::json& line) {
    return line.contains("step") ? up_to_2(line) : LineFate::kDamaged;
  };
  spill(path, text);
  CHECK(message_of([&] {
          cut_back_json_lines(path, fate, [](std::string_view) { throw DataError("no place for them"); });
        }) == "no place for them");
  CHECK(slurp(path) == text);
  std::string damaged;
  CHECK(cut_back_json_lines(path, fate, [&](std::string_view lines) { damaged += lines; }) == 2);
  CHECK(damaged == "{\"st\n{\"stop\":2}\n");
  CHECK(slurp(path) == "{\"step\":1}\n");
}

TEST_CASE("cut_back_json_lines leaves a file alone that needs no cut, and copes with an empty one", "[io]") {
  const TempFolder folder;
  const std::string path = folder / "metrics.jsonl";
  spill(path, "{\"step\":1}\n");
  const auto long_ago = std::filesystem::file_time_type::clock::now() - std::chrono::hours(1);
  std::filesystem::last_write_time(path, long_ago);
  CHECK(cut_back_json_lines(path, up_to_2) == 0);
  CHECK(std::filesystem::last_write_time(path) == long_ago);
  spill(path, "");
  CHECK(cut_back_json_lines(path, up_to_2) == 0);
  CHECK(slurp(path).empty());
  CHECK_THAT(message_of([&] { cut_back_json_lines(folder / "none", up_to_2); }), StartsWith(folder / "none"));
}

TEST_CASE("for_each_json_line passes over what is damaged or lacks what is asked for", "[io]") {
  const TempFolder folder;
  const std::string path = folder / "metrics.jsonl";
  std::vector<int> steps;
  const auto take = [&](const nlohmann::json& line) { steps.push_back(line.at("step").get<int>()); };
  for_each_json_line(path, take);  // there is none
  spill(path, "{\"step\":1}\n\n{\"st{\"step\":2}\n7\n{\"stop\":3}\n{\"step\":\"4\"}\n{\"step\":5}\n{\"step\":6");
  for_each_json_line(path, take);
  CHECK(steps == std::vector<int>{1, 5});
  CHECK_THAT(message_of([&] { for_each_json_line(folder / "", take); }), StartsWith(folder / ""));
}

}  // namespace spikesink
