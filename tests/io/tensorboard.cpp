#include "io/tensorboard.h"

#include <bit>
#include <chrono>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "scratch.h"

namespace spikesink {
namespace fs = std::filesystem;
using Catch::Matchers::Contains;
using Catch::Matchers::StartsWith;
namespace {

// A reader of its own: no code of io/tensorboard.cpp, and it insists on the exact layout of what we write.
struct Reader {
  std::string bytes;
  std::size_t at = 0;

  bool done() const { return at == bytes.size(); }
  std::string take(std::size_t n) {
    REQUIRE(n <= bytes.size() - at);
    at += n;
    return bytes.substr(at - n, n);
  }
  template <class T>
  T number() {
    T value;
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }
  void expect(std::uint8_t key) { REQUIRE(number<std::uint8_t>() == key); }
  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (int shift = 0;; shift += 7) {
      const auto byte = number<std::uint8_t>();
      value += std::uint64_t(byte % 128) << shift;
      if (byte < 128) return value;
    }
  }
  Reader message() { return {take(varint())}; }
};

std::uint32_t masked_crc(const std::string& bytes) {
  std::uint32_t sum = 0xFFFFFFFF;
  for (const char b : bytes) {
    sum ^= static_cast<unsigned char>(b);
    for (int bit = 0; bit < 8; ++bit) sum = (sum >> 1) ^ (sum & 1 ? 0x82F63B78 : 0);
  }
  sum = ~sum;
  return ((sum >> 15) | (sum << 17)) + 0xA282EAD8;
}
template <class T>
std::string raw(T number) {
  return {reinterpret_cast<const char*>(&number), sizeof number};
}
/// What stands before a record's data.
std::string head(std::uint64_t size) { return raw(size) + raw(masked_crc(raw(size))); }
std::string framed(const std::string& data) { return head(data.size()) + data + raw(masked_crc(data)); }

struct Scalar {
  std::string tag;
  float value;
  std::int64_t step;
  bool operator==(const Scalar&) const = default;
};
std::ostream& operator<<(std::ostream& out, const Scalar& s) {
  return out << s.tag << " = " << s.value << " at " << s.step;
}

std::vector<std::string> records_of(const std::string& path) {
  Reader file{slurp(path)};
  std::vector<std::string> records;
  while (!file.done()) {
    const std::size_t begin = file.at;
    const auto length = file.number<std::uint64_t>();
    file.number<std::uint32_t>();
    const std::string data = file.take(length);
    file.number<std::uint32_t>();
    REQUIRE(file.bytes.substr(begin, file.at - begin) == framed(data));
    records.push_back(data);
  }
  return records;
}

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::vector<Scalar> scalars_of(const std::string& path) {
  std::vector<Scalar> scalars;
  bool first = true;
  for (const std::string& data : records_of(path)) {
    Reader event{data};
    event.expect(0x09);
    const auto wall_time = event.number<double>();
    REQUIRE(std::abs(wall_time - seconds_now()) < 3600);
    if (std::exchange(first, false)) {
      event.expect(0x1a);
      REQUIRE(event.message().bytes == "brain.Event:2");
    } else {
      Scalar scalar;
      event.expect(0x10);
      scalar.step = static_cast<std::int64_t>(event.varint());
      event.expect(0x2a);
      Reader summary = event.message();
      summary.expect(0x0a);
      Reader value = summary.message();
      value.expect(0x0a);
      scalar.tag = value.message().bytes;
      value.expect(0x15);
      scalar.value = value.number<float>();
      REQUIRE((value.done() && summary.done()));
      scalars.push_back(scalar);
    }
    REQUIRE(event.done());
  }
  return scalars;
}

std::vector<std::string> files_of(const std::string& folder) {
  std::vector<std::string> files;
  for (const auto& entry : fs::directory_iterator(folder)) files.push_back(entry.path().string());
  std::sort(files.begin(), files.end());
  return files;
}

void write_steps(const std::string& folder, std::int64_t from, std::int64_t to) {
  EventFile events(folder);
  for (std::int64_t step = from; step <= to; ++step) events.scalar("train/loss", 1.0 / static_cast<double>(step), step);
}
std::vector<Scalar> steps(std::int64_t from, std::int64_t to) {
  std::vector<Scalar> scalars;
  for (std::int64_t step = from; step <= to; ++step)
    scalars.push_back({"train/loss", 1.0f / static_cast<float>(step), step});
  return scalars;
}

}  // namespace

TEST_CASE("an event file has the layout that TensorBoard documents", "[io]") {
  const TempFolder folder;
  const std::string path = folder / "tensorboard/deep";
  const std::string long_tag = "probe/" + std::string(300, 'x');  // a length of two bytes
  {
    EventFile events(path);
    events.scalar("train/loss", 2.5, 0);
    events.scalar(long_tag, -1e-3, 1);
    events.scalar("", std::numeric_limits<double>::infinity(), (std::int64_t{1} << 40) + 300);
  }
  const auto files = files_of(path);
  REQUIRE(files.size() == 1);
  CHECK_THAT(fs::path(files[0]).filename().string(), StartsWith("events.out.tfevents."));
  CHECK(scalars_of(files[0]) == std::vector<Scalar>{{"train/loss", 2.5f, 0},
                                                    {long_tag, -1e-3f, 1},
                                                    {"", std::numeric_limits<float>::infinity(), (1LL << 40) + 300}});
}

TEST_CASE("events are in the file after flush(), and each object has a file of its own, in order", "[io]") {
  const TempFolder folder;
  EventFile first(folder.path());
  first.scalar("a", 1, 1);
  first.flush();
  EventFile second(folder.path()), third(folder.path());
  second.scalar("b", 2, 2);
  second.flush();
  const auto files = files_of(folder.path());
  REQUIRE(files.size() == 3);
  CHECK(scalars_of(files[0]) == std::vector<Scalar>{{"a", 1, 1}});
  CHECK(scalars_of(files[1]) == std::vector<Scalar>{{"b", 2, 2}});
  CHECK(scalars_of(files[2]).empty());
}

TEST_CASE("a full disk is told by flush(), and the events come with the next one", "[io]") {
  const TempFolder folder;
  EventFile events(folder.path());
  const std::string path = files_of(folder.path()).at(0);
  const auto size = fs::file_size(path);
  events.scalar("train/loss", 1, 1);
  {
    const FileSizeLimit limit(size + 10);
    CHECK_THAT(message_of([&] { events.flush(); }), StartsWith(path + ": cannot be written: "));
  }
  CHECK(fs::file_size(path) == size);
  events.flush();
  CHECK(scalars_of(path) == steps(1, 1));
  CHECK_THAT(message_of([&] { EventFile(path + "/sub"); }), Contains("Not a directory"));
}

TEST_CASE("cut_back_events takes later steps out of all files and removes those with none left", "[io]") {
  const TempFolder folder;
  write_steps(folder.path(), 1, 5);
  write_steps(folder.path(), 3, 8);
  write_steps(folder.path(), 7, 9);
  { const EventFile empty(folder.path()); }
  spill(folder / "notes.txt", "mine");
  cut_back_events(folder.path(), 4);
  CHECK(slurp(folder / "notes.txt") == "mine");
  auto files = files_of(folder.path());
  REQUIRE(files.size() == 3);
  CHECK(scalars_of(files[0]) == steps(1, 4));
  CHECK(scalars_of(files[1]) == steps(3, 4));
  cut_back_events(folder.path(), -1);
  CHECK(folder.names() == std::set<std::string>{"notes.txt"});
  CHECK_THAT(message_of([&] { cut_back_events(folder / "none", 1); }), StartsWith(folder / "none"));
}

TEST_CASE("cut_back_events drops an event that was torn at any byte", "[io]") {
  const TempFolder folder;
  write_steps(folder.path(), 1, 3);
  const std::string path = files_of(folder.path()).at(0), whole = slurp(path);
  const auto records = records_of(path);
  const std::size_t opening = framed(records[0]).size(), each = framed(records[1]).size();
  for (std::size_t size = opening + each; size <= whole.size(); ++size) {
    spill(path, whole.substr(0, size));
    cut_back_events(folder.path(), 99);
    CAPTURE(size);
    REQUIRE(scalars_of(path) == steps(1, static_cast<std::int64_t>((size - opening) / each)));
  }
  spill(path, whole.substr(0, opening - 1));
  cut_back_events(folder.path(), 99);
  CHECK(folder.names().empty());
}

TEST_CASE("cut_back_events leaves out a damaged event alone, and keeps a copy that TensorBoard does not read", "[io]") {
  const TempFolder folder;
  write_steps(folder.path(), 1, 3);
  const std::string path = files_of(folder.path()).at(0), whole = slurp(path);
  const auto records = records_of(path);
  const std::size_t second = framed(records[0]).size() + framed(records[1]).size(),
                    third = second + framed(records[2]).size();
  for (std::size_t at = second; at < third; ++at) {
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x10);
    spill(path, damaged);
    const auto notes = cut_back_events(folder.path(), 99);
    CAPTURE(at - second);
    REQUIRE(scalars_of(path) == std::vector<Scalar>{steps(1, 1).at(0), steps(3, 3).at(0)});
    REQUIRE(notes.size() == 1);
    REQUIRE_THAT(notes[0], StartsWith(fmt::format("{}: {} damaged bytes left out", path, third - second)));
    auto names = folder.names();
    names.erase(fs::path(path).filename().string());
    REQUIRE(names.size() == 1);
    REQUIRE_THAT(*names.begin(), Contains(".damaged") && !Contains("tfevents"));
    REQUIRE_THAT(notes[0], Contains(*names.begin()));
    REQUIRE(slurp(folder / *names.begin()) == damaged);
    fs::remove(folder / *names.begin());
    REQUIRE(cut_back_events(folder.path(), 99).empty());
  }
}

TEST_CASE("cut_back_events finds the next event behind any number of damaged ones", "[io]") {
  const TempFolder folder;
  write_steps(folder.path(), 1, 2000);
  const std::string path = files_of(folder.path()).at(0);
  std::string file = slurp(path);
  const auto records = records_of(path);
  std::size_t at = framed(records[0]).size();
  for (std::size_t i = 1; i < records.size(); ++i) {
    const std::size_t size = framed(records[i]).size();
    if (i > 1 && i < records.size() - 1) file.replace(at, size, size, '\0');
    at += size;
  }
  spill(path, file);
  CHECK(cut_back_events(folder.path(), 9999).size() == 1);
  CHECK(scalars_of(path) == std::vector<Scalar>{steps(1, 1).at(0), steps(2000, 2000).at(0)});

  std::string nested;  // lengths that are right, each before data that is not: ten billion bytes
  for (std::uint64_t i = 40000; i > 0; --i) nested += head(i * 12);
  spill(path, framed(records[0]) + nested + framed(records[5]));
  CHECK(cut_back_events(folder.path(), 9999).size() == 1);
}

TEST_CASE("cut_back_events reads events of other writers: no step is step 0, unknown fields pass", "[io]") {
  const TempFolder folder;
  const std::string version = framed(
      "\x1a\x0d"
      "brain.Event:2");
  const std::string no_step = framed(
                        "\x2a\x03"
                        "abc"),
                    at_7 = framed(
                        "\x10\x07\x2a\x01"
                        "a");
  const std::string unknown = framed(std::string("\x7a\x02"
                                                 "hi\x10\x02\x45") +
                                     "1234" +
                                     "\x2a\x01"
                                     "a");  // step 2
  const std::string nonsense = framed(
      "\x2a\x70"
      "abc");
  const std::string path = folder / "x.tfevents.y";
  spill(path, version + no_step + at_7 + unknown + nonsense);
  cut_back_events(folder.path(), 2);
  CHECK(slurp(path) == version + no_step + unknown);
  cut_back_events(folder.path(), 0);
  CHECK(slurp(path) == version + no_step);
}

}  // namespace spikesink
