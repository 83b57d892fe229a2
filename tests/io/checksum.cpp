#include "io/checksum.h"

#include <random>
#include <string_view>
#include <vector>

#include "scratch.h"

namespace spikesink {
namespace {
std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }

std::string noise(std::size_t size) {
  std::mt19937 random(7);
  std::string bytes(size, '\0');
  for (char& b : bytes) b = static_cast<char>(random());
  return bytes;
}

/// One bit at a time, straight from the polynomial.
std::uint32_t by_division(std::string_view bytes) {
  std::uint32_t sum = 0xFFFFFFFF;
  for (const char b : bytes) {
    sum ^= static_cast<unsigned char>(b);
    for (int bit = 0; bit < 8; ++bit) sum = (sum >> 1) ^ (sum & 1 ? 0x82F63B78 : 0);
  }
  return ~sum;
}
}  // namespace

TEST_CASE("crc32c has the published values", "[io]") {
  // RFC 3720, appendix B.4, and the check value of the CRC catalogue.
  std::string rising(32, '\0'), falling(32, '\0');
  for (int i = 0; i < 32; ++i) rising[i] = static_cast<char>(i), falling[i] = static_cast<char>(31 - i);
  const std::vector<std::pair<std::string, std::uint32_t>> known{{"123456789", 0xE3069283},
                                                                 {"", 0},
                                                                 {std::string(32, '\0'), 0x8A9136AA},
                                                                 {std::string(32, '\xFF'), 0x62A8AB43},
                                                                 {rising, 0x46DD794E},
                                                                 {falling, 0x113FDB5C}};
  for (const auto& [text, sum] : known) {
    CHECK(crc32c(bytes_of(text)) == sum);
    CHECK(detail::crc32c_by_table(bytes_of(text), 0) == sum);
  }
}

TEST_CASE("crc32c by instruction, by table and by division agree at every length and offset", "[io]") {
  const std::string all = noise(300);
  for (std::size_t offset = 0; offset < 9; ++offset)
    for (std::size_t size = 0; size + offset <= all.size(); size += size < 40 ? 1 : 37) {
      const std::string_view part = std::string_view(all).substr(offset, size);
      CAPTURE(offset, size);
      const std::uint32_t want = by_division(part);
      REQUIRE(crc32c(bytes_of(part)) == want);
      REQUIRE(detail::crc32c_by_table(bytes_of(part), 0) == want);
    }
}

TEST_CASE("crc32c goes on from a seed, and of a file in pieces", "[io]") {
  const std::string all = noise((3 << 20) + 5);
  const std::uint32_t whole = crc32c(bytes_of(all));
  for (const std::size_t cut : {std::size_t{0}, std::size_t{1}, std::size_t{1000003}, all.size()}) {
    const std::string_view text = all;
    CHECK(crc32c(bytes_of(text.substr(cut)), crc32c(bytes_of(text.substr(0, cut)))) == whole);
    CHECK(detail::crc32c_by_table(bytes_of(text.substr(cut)), crc32c(bytes_of(text.substr(0, cut)))) == whole);
  }
  const TempFolder folder;
  spill(folder / "file", all);
  CHECK(crc32c_of_file(folder / "file") == whole);
  spill(folder / "empty", "");
  CHECK(crc32c_of_file(folder / "empty") == 0);
  std::string damaged = all;
  damaged[2 << 20] = static_cast<char>(damaged[2 << 20] ^ 1);
  spill(folder / "file", damaged);
  CHECK(crc32c_of_file(folder / "file") != whole);
  CHECK_THAT(message_of([&] { crc32c_of_file(folder / "none"); }), Catch::Matchers::StartsWith(folder / "none"));
}

}  // namespace spikesink
