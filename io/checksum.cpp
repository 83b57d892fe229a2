#include "io/checksum.h"

#include <fcntl.h>

#include <array>
#include <cstring>
#include <vector>
#ifdef __SSE4_2__
#include <nmmintrin.h>
#endif

#include "io/file_descriptor.h"

namespace spikesink {
namespace {

/// kTable[b]: what the byte b does to a sum whose other bytes are 0.
constexpr std::array<std::uint32_t, 256> kTable = [] {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t b = 0; b < table.size(); ++b) {
    std::uint32_t sum = b;
    for (int bit = 0; bit < 8; ++bit) sum = sum & 1 ? sum >> 1 ^ 0x82F63B78u : sum >> 1;
    table[b] = sum;
  }
  return table;
}();

}  // namespace

std::uint32_t detail::crc32c_by_table(std::span<const std::byte> bytes, std::uint32_t seed) {
  std::uint32_t sum = ~seed;
  for (const std::byte b : bytes) sum = sum >> 8 ^ kTable[(sum ^ static_cast<std::uint32_t>(b)) & 0xFF];
  return ~sum;
}

#ifdef __SSE4_2__
std::uint32_t crc32c(std::span<const std::byte> bytes, std::uint32_t seed) {
  std::uint64_t sum = ~seed;
  for (; bytes.size() >= sizeof(std::uint64_t); bytes = bytes.subspan(sizeof(std::uint64_t))) {
    std::uint64_t word;
    std::memcpy(&word, bytes.data(), sizeof word);
    sum = _mm_crc32_u64(sum, word);
  }
  auto last = static_cast<std::uint32_t>(sum);
  for (const std::byte b : bytes) last = _mm_crc32_u8(last, static_cast<unsigned char>(b));
  return ~last;
}
#else
std::uint32_t crc32c(std::span<const std::byte> bytes, std::uint32_t seed) {
  return detail::crc32c_by_table(bytes, seed);
}
#endif

std::uint32_t crc32c_of_file(const std::string& path) {
  FileDescriptor file = FileDescriptor::open(path, O_RDONLY);
  std::vector<std::byte> buffer(1 << 20);
  std::uint32_t sum = 0;
  while (const std::size_t n = file.read(buffer)) sum = crc32c(std::span(buffer).first(n), sum);
  return sum;
}

}  // namespace spikesink
