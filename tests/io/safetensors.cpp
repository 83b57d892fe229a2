#include "io/safetensors.h"

#include <fcntl.h>

#include <cmath>
#include <cstring>
#include <random>

#include "io/f16.h"
#include "io/safetensors_header.h"
#include "scratch.h"

namespace spikesink {
namespace fs = std::filesystem;
using Catch::Matchers::Contains;
using Catch::Matchers::StartsWith;
namespace {

/// The bytes of a file whose header is `json`.
std::string file_of(const std::string& json, std::size_t data_bytes) {
  std::string out(8, '\0');
  for (std::size_t i = 0; i < 8; ++i) out[i] = static_cast<char>(json.size() >> 8 * i & 0xff);
  out += json;
  for (std::size_t i = 0; i < data_bytes; ++i) out += static_cast<char>(i * 37 + 11);
  return out;
}

/// What is said of a model whose only file has this header.
std::string refusal(const std::string& json, std::size_t data_bytes) {
  const TempFolder folder;
  spill(folder / "model.safetensors", file_of(json, data_bytes));
  const std::string message = message_of([&] { Safetensors::open(folder.path()); });
  CHECK_THAT(message, StartsWith(folder / "model.safetensors"));
  return message;
}

std::string bytes_of_tensor(const Safetensors& model, const std::string& name) {
  const SafeTensor& tensor = model.tensors().at(name);
  std::string bytes(static_cast<std::size_t>(tensor.bytes), '\0');
  model.read(tensor, 0, std::as_writable_bytes(std::span(bytes)));
  return bytes;
}

const std::vector<SafeEntry> kEntries{{"a.weight", kSafeF32, {3, 5}}, {"b", kSafeBF16, {7}},
                                      {"none", kSafeF32, {0, 4}},     {"scalar", kSafeF64, {}},
                                      {"c", kSafeF16, {2, 2, 2}},     {"last", kSafeF32, {1}}};

/// Writes entries with bytes that tell their place, in pieces of `piece` bytes; returns each one's bytes.
std::vector<std::string> write_model(const std::string& folder, std::int64_t shard_bytes, std::size_t piece) {
  SafetensorsWriter writer(folder, kEntries, shard_bytes);
  std::vector<std::string> all;
  std::mt19937 random(1);
  for (const SafeEntry& entry : kEntries) {
    std::string bytes(static_cast<std::size_t>(bytes_of(entry)), '\0');
    for (char& byte : bytes) byte = static_cast<char>(random());
    for (std::size_t at = 0; at < bytes.size(); at += piece)
      writer.write(std::as_bytes(std::span(bytes).subspan(at, std::min(piece, bytes.size() - at))));
    all.push_back(bytes);
  }
  writer.close();
  return all;
}

}  // namespace

TEST_CASE("every half is the float that its bits say", "[io]") {
  for (int bits = 0; bits < 0x10000; ++bits) {
    const int exponent = bits >> 10 & 0x1f, mantissa = bits & 0x3ff;
    const float got = f16(static_cast<std::uint16_t>(bits));
    const double sign = bits >> 15 ? -1 : 1;
    if (exponent == 0x1f && mantissa != 0) {
      if (!std::isnan(got)) FAIL(bits);
      continue;
    }
    const double want = exponent == 0x1f ? sign * INFINITY
                        : exponent == 0  ? sign * std::ldexp(mantissa, -24)
                                         : sign * std::ldexp(1024 + mantissa, exponent - 25);
    if (static_cast<double>(got) != want || std::signbit(got) != (sign < 0))
      FAIL(bits << " gives " << got << ", not " << want);
  }
}

TEST_CASE("a model written in shards of any size reads back to the last bit", "[io]") {
  const std::int64_t shard_bytes = GENERATE(1, 60, 75, 90, 1 << 20);
  const std::size_t piece = GENERATE(1, 7, 1000);
  const TempFolder folder;
  const auto written = write_model(folder.path(), shard_bytes, piece);
  const bool whole = shard_bytes == 1 << 20;
  CHECK(folder.names().contains("model.safetensors") == whole);
  CHECK(folder.names().contains("model.safetensors.index.json") == !whole);
  for (const auto& entry : fs::directory_iterator(folder.path()))
    if (entry.path().extension() == ".safetensors" && shard_bytes > 60)  // 60: that of a.weight
      CHECK(entry.file_size() < static_cast<std::uintmax_t>(shard_bytes) + 600);
  const Safetensors model = Safetensors::open(folder.path());
  REQUIRE(model.tensors().size() == kEntries.size());
  for (std::size_t i = 0; i < kEntries.size(); ++i) {
    const SafeTensor& tensor = model.tensors().at(kEntries[i].name);
    CHECK(tensor.dtype == kEntries[i].dtype);
    CHECK(tensor.shape == kEntries[i].shape);
    CHECK(bytes_of_tensor(model, kEntries[i].name) == written[i]);
  }
  std::string middle(9, '\0');
  model.read(model.tensors().at("a.weight"), 13, std::as_writable_bytes(std::span(middle)));
  CHECK(middle == written[0].substr(13, 9));
}

TEST_CASE("a header that lies is refused in one line that names file and tensor", "[io]") {
  const std::string good = R"({"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},)"
                           R"("b":{"dtype":"BF16","shape":[4],"data_offsets":[24,32]}})";
  const TempFolder folder;
  spill(folder / "model.safetensors", file_of(good, 32));
  CHECK(Safetensors::open(folder.path()).tensors().size() == 2);

  const auto with = [&](const std::string& from, const std::string& to, std::size_t bytes = 32) {
    std::string json = good;
    json.replace(json.find(from), from.size(), to);
    return refusal(json, bytes);
  };
  CHECK_THAT(refusal(good, 31), Contains("tensor b ends at byte 32 of the data, of which there are 31"));
  CHECK_THAT(refusal(good, 40), Contains("has 8 bytes behind its last tensor"));
  CHECK_THAT(with("[2,3]", "[2,4]"), Contains("tensor a: has 24 bytes, but shape (2, 4) of F32 needs 32"));
  CHECK_THAT(with("BF16", "F32"), Contains("tensor b: has 8 bytes, but shape (4) of F32 needs 16"));
  CHECK_THAT(with("BF16", "F33"), Contains("tensor b: dtype 'F33' is none of the format's"));
  CHECK_THAT(with("[24,32]", "[16,24]"), Contains("tensor b begins at byte 16 of the data, inside another one"));
  CHECK_THAT(with("[24,32]", "[28,36]", 36), Contains("bytes 24 to 27 of the data, before tensor b, belong to none"));
  CHECK_THAT(with("[24,32]", "[32,24]"), Contains("tensor b: data_offsets are no begin and end"));
  CHECK_THAT(with("[24,32]", "[24,32,40]"), Contains("tensor b: data_offsets are no begin and end"));
  CHECK_THAT(with("[24,32]", "[24,-32]"), Contains("tensor b: data_offsets has a negative number"));
  CHECK_THAT(with("[24,32]", "[24,3e1]"), Contains("tensor b: data_offsets has a broken number"));
  CHECK_THAT(with("[24,32]", "[24,18446744073709551615]"),
             Contains("tensor b: data_offsets has a number of that size"));
  CHECK_THAT(with("[2,3]", "[4611686018427387904,4]"), Contains("is more than any file holds"));
  CHECK_THAT(with("[2,3]", "[[2],3]"), Contains("tensor a: shape has a list"));
  CHECK_THAT(with("[2,3]", R"({"x":1})"), Contains("tensor a: shape has an object"));
  CHECK_THAT(with(R"("b":)", R"("a":)"), Contains("the name a stands twice"));
  CHECK_THAT(with(R"("dtype":"BF16",)", ""), Contains("tensor b: dtype, shape or data_offsets is missing"));
  CHECK_THAT(with(R"("dtype":"BF16",)", R"("dtype":"BF16","dtype":"F16",)"), Contains("tensor b: dtype stands twice"));
  CHECK_THAT(with(R"("dtype":"BF16",)", R"("dtype":"BF16","order":"F",)"), Contains("tensor b: unknown key order"));
  CHECK_THAT(with(R"("format":"pt")", R"("format":["pt"])"), Contains("has a list"));
  CHECK_THAT(refusal("[" + good + "]", 32), Contains("does not begin with {"));
  CHECK_THAT(refusal(good.substr(0, 60), 32), Contains("is no JSON near byte"));
  CHECK_THAT(refusal(std::string("{\"a\":") + std::string(1 << 20, '['), 0), Contains("where a tensor belongs"));
  CHECK_THAT(refusal(std::string("{\"a\":{\"shape\":") + std::string(1 << 20, '['), 0),
             Contains("tensor a: shape has a list"));
  CHECK_THAT(with(R"("b":)", "\"b\\n" + std::string(500, 'x') + "\":", 31), Contains("tensor b?xxx"));

  spill(folder / "model.safetensors", "short");
  CHECK_THAT(message_of([&] { Safetensors::open(folder.path()); }), Contains("is too short for a header"));
  std::string lies = file_of(good, 32);
  for (const char byte : {'\x7f', '\x06', '\x01'}) {  // beyond the file, and below the limit of a header
    lies[byte == '\x01' ? 2 : byte == '\x06' ? 3 : 7] = byte;
    spill(folder / "model.safetensors", lies);
    CHECK_THAT(message_of([&] { Safetensors::open(folder.path()); }), Contains("its header is said to have"));
    lies = file_of(good, 32);
  }
}

TEST_CASE("an index that does not fit its shards is refused", "[io]") {
  const TempFolder folder;
  write_model(folder.path(), 60, 1000);
  const std::string index = folder / "model.safetensors.index.json", good = slurp(index);
  const auto refused = [&](const std::string& text) {
    spill(index, text);
    return message_of([&] { Safetensors::open(folder.path()); });
  };
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string text = good;
    REQUIRE(text.find(from) != std::string::npos);
    text.replace(text.find(from), from.size(), to);
    return refused(text);
  };
  CHECK_THAT(with("\"last\"", "\"lost\""), Contains("has no tensor lost, which"));
  CHECK_THAT(with("\"last\": \"model-00002", "\"b\": \"model-00002"), Contains("tensor"));
  CHECK_THAT(with("model-00001-of", "../model-00001-of"), Contains("which is no name of a file"));
  CHECK_THAT(with("model-00001-of", "model-00007-of"), Contains("model-00007-of"));
  CHECK_THAT(with("weight_map", "weights"), Contains("is no index of safetensors files"));
  CHECK_THAT(refused("{\"weight_map\":{}}"), Contains("names no tensors"));
  CHECK_THAT(refused(good.substr(0, good.size() / 2)), Contains("is no index of safetensors files"));
  CHECK_THAT(refused("{\"weight_map\":{\"a\":[3]}}"), Contains("is no index of safetensors files"));
  fs::remove(index);
  CHECK_THAT(message_of([&] { Safetensors::open(folder.path()); }), Contains("has neither model.safetensors nor"));
}

TEST_CASE("mutated files either read or are refused, in little memory", "[io]") {
  const TempFolder folder;
  std::string header = safetensors_header(kEntries);
  std::int64_t data = 0;
  for (const SafeEntry& entry : kEntries) data += bytes_of(entry);
  const std::string good = file_of(header, static_cast<std::size_t>(data));
  const std::string pieces[] = {"[",
                                "]",
                                "{",
                                "}",
                                ",",
                                ":",
                                "\"",
                                "0",
                                "-1",
                                "18446744073709551615",
                                "9223372036854775807",
                                "1e9",
                                "null",
                                "true",
                                "F64",
                                "\\u0000",
                                "\xff",
                                "\"shape\"",
                                "\"a.weight\":",
                                "4294967296",
                                "[[[[[["};
  std::mt19937_64 random(20);
  const auto below = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
  rusage before{};
  getrusage(RUSAGE_SELF, &before);
  int read = 0, refused = 0;
  for (int round = 0; round < 6000; ++round) {
    std::string bytes = good;
    for (std::size_t changes = 1 + below(3); changes > 0; --changes) {
      const std::size_t in_header = below(8) == 0 ? below(8) : 8 + below(header.size()),
                        at = std::min(in_header, bytes.size());
      switch (below(6)) {
        case 0:
          if (at < bytes.size()) bytes[at] = static_cast<char>(random());
          break;
        case 1:
          bytes.insert(at, pieces[below(std::size(pieces))]);
          break;
        case 2:
          bytes.erase(at, 1 + below(12));
          break;
        case 3:
          bytes.resize(below(bytes.size() + 1));
          break;
        case 4:  // a stretch of the header again
          bytes.insert(at, good.substr(8 + below(header.size()), below(80)));
          break;
        default:  // a digit, which keeps the JSON sound
          if (const std::size_t digit = bytes.find_first_of("0123456789", at); digit != std::string::npos)
            bytes[digit] = static_cast<char>('0' + below(10));
      }
    }
    if (below(2) == 0 && bytes.size() >= 8) {  // a length that fits again
      const std::size_t length = std::min(bytes.size() - 8, header.size() + bytes.size() - good.size());
      for (std::size_t i = 0; i < 8; ++i) bytes[i] = static_cast<char>(length >> 8 * i & 0xff);
    }
    spill(folder / "model.safetensors", bytes);
    try {
      const Safetensors model = Safetensors::open(folder.path());
      ++read;
      std::int64_t sum = 0;
      for (const auto& [name, tensor] : model.tensors())
        sum += static_cast<std::int64_t>(bytes_of_tensor(model, name).size());
      if (sum > static_cast<std::int64_t>(bytes.size())) FAIL("more bytes than the file has");
    } catch (const DataError& error) {
      ++refused;
      if (std::string(error.what()).find('\n') != std::string::npos) FAIL(error.what());
    }
  }
  CHECK(read > 50);
  CHECK(refused > 3000);
#ifndef __SANITIZE_ADDRESS__  // which keeps what is freed, so that this would be of the tests that ran before
  rusage after{};
  getrusage(RUSAGE_SELF, &after);
  CHECK(after.ru_maxrss - before.ru_maxrss < 50'000);  // kilobytes
#endif
}

}  // namespace spikesink
