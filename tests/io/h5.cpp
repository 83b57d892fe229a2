#include "io/h5.h"

#include <cmath>
#include <cstdlib>
#include <limits>
#include <numeric>
#include <random>
#include <thread>

#include "scratch.h"

namespace spikesink {
namespace fs = std::filesystem;
using Catch::Matchers::Contains;
using Catch::Matchers::StartsWith;
namespace {

template <class T>
std::vector<T> counted(std::size_t n) {
  std::vector<T> values(n);
  for (std::size_t i = 0; i < n; ++i) values[i] = static_cast<T>(i) - T{7};
  return values;
}

/// A file with some of everything.
void write_sample(const std::string& path) {
  H5File file = H5File::create(path);
  file.write<float>("weights/blocks.0/q", counted<float>(6), {2, 3});
  file.write<double>("weights/blocks.0/k", counted<double>(200), {10, 20});
  file.write<std::int64_t>("top", counted<std::int64_t>(4), {4});
  file.attribute("/", "step", std::int64_t{1} << 40);
  file.attribute("", "loss", 2.5);
  file.attribute("top", "units", std::string("tokens"));
  file.close();
}

}  // namespace

TEMPLATE_TEST_CASE("an HDF5 dataset reads back to the last bit, whatever its rank and size", "[io]", float, double,
                   std::uint16_t, std::int32_t, std::int64_t) {
  const TempFolder folder;
  const std::vector<std::vector<std::int64_t>> shapes{{}, {1}, {7}, {3, 0, 2}, {2, 3, 5}, {300, 1000}};
  const auto size_of = [](const auto& dims) {
    return static_cast<std::size_t>(std::accumulate(dims.begin(), dims.end(), std::int64_t{1}, std::multiplies<>()));
  };
  std::mt19937_64 random(3);
  const auto values_for = [&](const auto& dims) {
    std::vector<TestType> values(size_of(dims));
    for (auto& value : values) value = static_cast<TestType>(static_cast<std::int64_t>(random()));
    if (!values.empty()) values[0] = std::numeric_limits<TestType>::lowest();
    return values;
  };
  std::vector<std::vector<TestType>> written;
  {
    H5File file = H5File::create(folder / "a.h5");
    for (std::size_t i = 0; i < shapes.size(); ++i) {
      written.push_back(values_for(shapes[i]));
      file.write<TestType>(fmt::format("group/{}", i), written.back(), shapes[i]);
    }
    file.close();
  }
  const H5File file = H5File::open(folder / "a.h5");
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    const std::string name = fmt::format("group/{}", i);
    CAPTURE(name);
    CHECK(file.dims(name) == shapes[i]);
    CHECK(file.read<TestType>(name) == written[i]);
    std::vector<TestType> values(written[i].size(), TestType{42});
    file.read_into<TestType>(name, values);
    CHECK(values == written[i]);
  }
}

TEST_CASE("a stretch of an HDF5 dataset is its row-major elements, wherever it begins and ends", "[io]") {
  const TempFolder folder;
  const std::vector<std::vector<std::int64_t>> shapes{{}, {1}, {7}, {5, 3}, {3, 1, 4}, {2, 3, 2, 2}};
  H5File file = H5File::create(folder / "a.h5");
  for (std::size_t s = 0; s < shapes.size(); ++s) {
    const auto size = static_cast<std::size_t>(
        std::accumulate(shapes[s].begin(), shapes[s].end(), std::int64_t{1}, std::multiplies<>()));
    const auto all = counted<double>(size);
    const std::string name = fmt::format("{}", s);
    file.write<double>(name, all, shapes[s]);
    for (std::size_t first = 0; first <= size; ++first)
      for (std::size_t end = first; end <= size; ++end) {
        CAPTURE(s, first, end);
        std::vector<float> got(end - first, NAN);  // converted, as whole ones are
        file.read_stretch<float>(name, static_cast<std::int64_t>(first), got);
        CHECK(std::equal(got.begin(), got.end(), all.begin() + static_cast<std::ptrdiff_t>(first)));
      }
    std::vector<float> more(2);
    for (const std::int64_t first : {std::int64_t{-1}, static_cast<std::int64_t>(size) - 1, std::int64_t{1} << 62})
      CHECK_THAT(message_of([&] { file.read_stretch<float>(name, first, more); }),
                 StartsWith((folder / "a.h5") + fmt::format(": {} holds {} numbers, 2 from {} on", name, size, first)));
  }
  file.write<float>("empty", {}, {3, 0});
  file.read_stretch<float>("empty", 0, {});
}

TEST_CASE("HDF5 keeps NaN, infinity and signed zero", "[io]") {
  const TempFolder folder;
  H5File file = H5File::create(folder / "a.h5");
  file.write<float>("x", std::vector<float>{NAN, INFINITY, -INFINITY, -0.0f}, {4});
  const auto x = file.read<float>("x");
  CHECK(std::isnan(x[0]));
  CHECK(x[1] == INFINITY);
  CHECK(x[2] == -INFINITY);
  CHECK(std::signbit(x[3]));
}

TEST_CASE("HDF5 numbers are converted from the type that the file has", "[io]") {
  const TempFolder folder;
  H5File file = H5File::create(folder / "a.h5");
  file.write<double>("d", std::vector<double>{0.1, -2.0}, {2});
  file.write<std::int32_t>("i", std::vector<std::int32_t>{-3, 1 << 30}, {2});
  CHECK(file.read<float>("d") == std::vector<float>{0.1f, -2.0f});
  CHECK(file.read<double>("i") == std::vector<double>{-3, 1 << 30});
  CHECK(file.read<std::int64_t>("i") == std::vector<std::int64_t>{-3, 1 << 30});
}

TEST_CASE("HDF5 names: groups are made, found and listed in order", "[io]") {
  const TempFolder folder;
  write_sample(folder / "a.h5");
  const H5File file = H5File::open(folder / "a.h5");
  for (const char* name : {"top", "/top", "weights", "weights/", "weights/blocks.0", "weights/blocks.0/q", "/", ""})
    CHECK(file.exists(name));
  for (const char* name : {"none", "weights/none", "none/none/none", "weights/blocks", "weights/blocks.0/q2"})
    CHECK_FALSE(file.exists(name));
  CHECK_FALSE(file.exists("top/below"));
  CHECK(file.children("/") == std::vector<std::string>{"top", "weights"});
  CHECK(file.children("") == file.children("/"));
  CHECK(file.children("weights/blocks.0") == std::vector<std::string>{"k", "q"});
  CHECK_THAT(message_of([&] { file.children("none"); }), StartsWith((folder / "a.h5") + ": has no none; "));
  CHECK_THAT(message_of([&] { file.children("top"); }), StartsWith((folder / "a.h5") + ": top: cannot be read: "));
}

TEST_CASE("HDF5 attributes of file, group and dataset read back", "[io]") {
  const TempFolder folder;
  const std::string text = "share of a head's attention; \xCE\xB1";
  {
    H5File file = H5File::create(folder / "a.h5");
    file.write<float>("group/x", std::vector<float>{1}, {1});
    for (const char* object : {"", "group", "group/x"}) {
      file.attribute(object, "meaning", text);
      file.attribute(object, "empty", std::string());
      file.attribute(object, "literal", "not a number");
      file.attribute(object, "share", 0.1);
      file.attribute(object, "tokens", std::int64_t{-1} << 62);
      file.attribute(object, "shape", std::vector<std::int64_t>{3, std::int64_t{1} << 40});
    }
    file.close();
  }
  const H5File file = H5File::open(folder / "a.h5");
  for (const char* object : {"", "/", "group", "group/x"}) {
    CAPTURE(object);
    CHECK(file.text_attribute(object, "meaning") == text);
    CHECK(file.text_attribute(object, "empty").empty());
    CHECK(file.text_attribute(object, "literal") == "not a number");
    CHECK(file.number_attribute<double>(object, "share") == 0.1);
    CHECK(file.number_attribute<std::int64_t>(object, "tokens") == std::int64_t{-1} << 62);
    CHECK(file.list_attribute(object, "shape") == std::vector<std::int64_t>{3, std::int64_t{1} << 40});
    CHECK(file.has_attribute(object, "shape"));
    CHECK_FALSE(file.has_attribute(object, "none"));
    CHECK_THAT(message_of([&] { file.list_attribute(object, "tokens"); }), Contains("not a list of integers"));
    CHECK_THAT(message_of([&] { file.list_attribute(object, "meaning"); }), Contains("not a list of integers"));
    CHECK_THAT(message_of([&] { file.number_attribute<double>(object, "none"); }),
               Contains("has no ") && Contains("none"));
    CHECK_THAT(message_of([&] { file.number_attribute<double>(object, "meaning"); }), Contains("not a single number"));
    CHECK_THAT(message_of([&] { file.text_attribute(object, "share"); }), Contains("not a single text"));
  }
  CHECK_THAT(message_of([&] { file.text_attribute("none", "meaning"); }), Contains("has no none"));
  CHECK_THAT(message_of([&] { file.has_attribute("none", "meaning"); }), Contains("has no none"));
}

TEST_CASE("equal HDF5 content gives equal bytes, also at another time", "[io]") {
  const TempFolder folder;
  write_sample(folder / "a.h5");
  std::this_thread::sleep_for(std::chrono::milliseconds(1100));  // HDF5's time stamps are in seconds
  write_sample(folder / "a longer name.h5");
  const bool equal = slurp(folder / "a.h5") == slurp(folder / "a longer name.h5");
  CHECK(equal);
}

TEST_CASE("H5File::create replaces a file, and a moved H5File goes on", "[io]") {
  const TempFolder folder;
  spill(folder / "a.h5", std::string(100000, 'x'));
  H5File first = H5File::create(folder / "a.h5");
  H5File file = std::move(first);
  file.write<float>("x", std::vector<float>{1}, {1});
  file.close();
  file.close();
  CHECK(fs::file_size(folder / "a.h5") < 10000);
  file = H5File::open(folder / "a.h5");
  CHECK(file.read<float>("x") == std::vector<float>{1});
}

TEST_CASE("several threads write and read HDF5 files of their own", "[io]") {
  const TempFolder folder;
  std::vector<std::thread> threads;
  std::atomic<int> good = 0;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 20; ++i) {
        const std::string path = folder / fmt::format("{}_{}.h5", t, i);
        write_sample(path);
        const H5File file = H5File::open(path);
        if (file.read<double>("weights/blocks.0/k") == counted<double>(200)) ++good;
        try {
          file.read<float>("none");
        } catch (const DataError&) {
          ++good;
        }
      }
    });
  for (auto& thread : threads) thread.join();
  CHECK(good == 160);
}

TEST_CASE("HDF5 files that are missing or of another kind are told in one line with the mend", "[io]") {
  const TempFolder folder;
  const auto open = [](const std::string& path) { return message_of([&] { H5File::open(path); }); };
  CHECK(open(folder / "none.h5") ==
        (folder / "none.h5") + ": cannot be opened: No such file or directory; check the path");
  CHECK_THAT(open(folder.path()), StartsWith(folder.path() + ": cannot be opened: Is a directory; "));
  spill(folder / "text.h5", "not HDF5 at all\n");
  CHECK(open(folder / "text.h5") == (folder / "text.h5") +
                                        ": cannot be read as HDF5: file signature not found; the file is damaged or of "
                                        "another kind; name another one, or make it anew");
  spill(folder / "empty.h5", "");
  CHECK_THAT(open(folder / "empty.h5"), StartsWith((folder / "empty.h5") + ": cannot be read as HDF5: "));
  CHECK_THAT(message_of([&] { H5File::create(folder / "no/a.h5"); }),
             StartsWith((folder / "no/a.h5") + ": cannot be opened for writing: No such file or directory; "));
}

TEST_CASE("HDF5 datasets that are missing or of another size or kind are told by name", "[io]") {
  const TempFolder folder;
  const std::string path = folder / "a.h5";
  write_sample(path);
  const H5File file = H5File::open(path);
  CHECK_THAT(message_of([&] { file.dims("weights/none"); }), StartsWith(path + ": has no weights/none; "));
  CHECK_THAT(message_of([&] { file.read<float>("none"); }), StartsWith(path + ": has no none; "));
  CHECK_THAT(message_of([&] { file.read<float>("weights"); }), StartsWith(path + ": weights: cannot be read: "));
  std::vector<float> five(5);
  CHECK_THAT(message_of([&] { file.read_into<float>("weights/blocks.0/q", five); }),
             StartsWith(path + ": weights/blocks.0/q holds 6 numbers, 5 are wanted; "));
}

TEST_CASE("a truncated HDF5 file is refused at whatever byte it ends", "[io]") {
  const TempFolder folder;
  write_sample(folder / "whole.h5");
  const std::string whole = slurp(folder / "whole.h5");
  for (std::size_t size = 0; size < whole.size(); size += size < 1000 ? 1 : 97) {
    CAPTURE(size);
    spill(folder / "a.h5", whole.substr(0, size));
    message_of([&] { H5File::open(folder / "a.h5").read<float>("weights/blocks.0/q"); });
  }
  spill(folder / "a.h5", whole.substr(0, whole.size() - 1));
  CHECK_THAT(message_of([&] { H5File::open(folder / "a.h5"); }), Contains("truncated file"));
}

TEST_CASE("a damaged byte in an HDF5 file is told, or changes one number and nothing else", "[io]") {
  const TempFolder folder;
  struct Content {
    std::vector<std::string> names;
    std::vector<std::vector<std::int64_t>> dims;
    std::vector<double> values;
    std::string units;
  };
  const auto read = [](const std::string& path) {
    const H5File file = H5File::open(path);
    Content content{.names = file.children("weights/blocks.0"), .units = file.text_attribute("top", "units")};
    for (const char* name : {"weights/blocks.0/k", "weights/blocks.0/q", "top"}) {
      content.dims.push_back(file.dims(name));
      const auto values = file.read<double>(name);
      content.values.insert(content.values.end(), values.begin(), values.end());
    }
    content.values.push_back(file.number_attribute<double>("", "loss"));
    return content;
  };
  write_sample(folder / "whole.h5");
  const Content want = read(folder / "whole.h5");
  const std::string whole = slurp(folder / "whole.h5"), path = folder / "a.h5";
  int refused = 0;
  for (std::size_t at = 0; at < whole.size(); ++at) {
    CAPTURE(at);
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x24);
    spill(path, damaged);
    Content got;
    try {
      got = read(path);
    } catch (const DataError& error) {
      ++refused;
      if (!std::string(error.what()).starts_with(path)) FAIL(error.what());
      continue;
    }
    if (got.names != want.names || got.dims != want.dims || got.units != want.units) FAIL("another structure");
    int changed = 0;
    for (std::size_t i = 0; i < want.values.size(); ++i) changed += got.values[i] != want.values[i];
    if (changed > 1) FAIL("more than one number");
  }
  CHECK(refused > 500);  // all of the structure
}

TEST_CASE("a full disk while an HDF5 file is written is told at whatever byte, and HDF5 goes on working", "[io]") {
  const TempFolder folder;
  const std::string path = folder / "a.h5";
  const auto write = [&] {
    H5File file = H5File::create(path);
    for (int i = 0; i < 40; ++i) {
      file.write<float>(fmt::format("group {}/x", i % 7 * 100 + i), counted<float>(300), {300});
      file.attribute("/", fmt::format("a {}", i), std::string(200, 'a'));
    }
    file.close();
  };
  write();
  const auto size = fs::file_size(path);
  for (rlim_t limit = 0; limit < size; limit += 1 + size / 61) {
    CAPTURE(limit);
    std::string message;
    {
      const FileSizeLimit of_file(limit);
      message = message_of(write);
    }
    CHECK(message == path +
                         ": cannot be written: File too large; raise the limit of file sizes (ulimit -f) or choose "
                         "another folder");
  }
  write();
  CHECK(H5File::open(path).read<float>("group 0/x") == counted<float>(300));
  if (fs::exists("/dev/full")) {
    CHECK_THAT(message_of([] {
                 H5File file = H5File::create("/dev/full");
                 file.write<float>("x", std::vector<float>(100000), {100000});
               }),
               StartsWith("/dev/full: cannot be written: No space left on device; free some space"));
  }
}

TEST_CASE("(run by the next test) a full disk while an HDF5 file is written", "[.][full_disk]") {
  const TempFolder folder;
  const FileSizeLimit limit(5000);
  message_of([&] {
    H5File file = H5File::create(folder / "a.h5");
    for (int i = 0; i < 40; ++i) file.write<float>(fmt::format("{}", i), counted<float>(300), {300});
  });
}

TEST_CASE("a program that could not write an HDF5 file can still exit", "[io]") {
  // HDF5 cleans up in exit(), where it dies of files that did not close: so in a process of its own.
  const std::string program = fs::read_symlink("/proc/self/exe").string();
  CHECK(std::system(fmt::format("'{}' '[full_disk]' > /dev/null", program).c_str()) == 0);
}

TEMPLATE_TEST_CASE("a dataset written stretch by stretch lies in its file where place_of says", "[io]", std::uint16_t,
                   std::int32_t) {
  const TempFolder folder;
  constexpr std::int64_t kCount = 300'000;
  std::vector<TestType> values(kCount);
  for (std::int64_t i = 0; i < kCount; ++i) values[static_cast<std::size_t>(i)] = static_cast<TestType>(i * 7919);
  {
    H5File file = H5File::create(folder / "whole.h5");
    file.template write<TestType>("tokens", values, {kCount});
    file.close();
  }
  H5File file = H5File::create(folder / "a.h5");
  file.make<TestType>("tokens", kCount);
  for (std::int64_t first = 0; first < kCount; first += 70'001)
    file.write_stretch<TestType>(
        "tokens", first,
        std::span<const TestType>(values).subspan(
            static_cast<std::size_t>(first), static_cast<std::size_t>(std::min<std::int64_t>(70'001, kCount - first))));
  file.make<std::int64_t>("empty", 0);
  file.close();

  const H5File again = H5File::open(folder / "a.h5");
  CHECK(again.read<TestType>("tokens") == values);
  CHECK(again.place_of<std::int64_t>("empty").count == 0);
  const H5Place place = again.place_of<TestType>("tokens");
  REQUIRE(place.count == kCount);
  std::ifstream raw(folder / "a.h5", std::ios::binary);
  raw.seekg(place.offset);
  std::vector<TestType> bytes(kCount);
  raw.read(reinterpret_cast<char*>(bytes.data()), kCount * sizeof(TestType));
  CHECK(raw.good());
  CHECK(bytes == values);
  CHECK_THROWS_WITH(again.place_of<std::int64_t>("tokens"), Contains("no contiguous row of numbers of 8 bytes"));
}

TEST_CASE("a group is copied from another HDF5 file with all in it, and the copy has equal bytes each time", "[io]") {
  const TempFolder folder;
  write_sample(folder / "a.h5");
  const auto copy_to = [&](const std::string& path) {
    const H5File from = H5File::open(folder / "a.h5");
    H5File to = H5File::create(path);
    to.copy(from, "weights");
    to.copy(from, "top");
    CHECK_THROWS_AS(to.copy(from, "missing"), DataError);
    to.close();
  };
  copy_to(folder / "b.h5");
  copy_to(folder / "c.h5");
  const H5File copied = H5File::open(folder / "b.h5");
  CHECK(copied.dims("weights/blocks.0/k") == std::vector<std::int64_t>{10, 20});
  CHECK(copied.read<float>("weights/blocks.0/q") == counted<float>(6));
  CHECK(copied.text_attribute("top", "units") == "tokens");
  CHECK(slurp(folder / "b.h5") == slurp(folder / "c.h5"));
}

}  // namespace spikesink
