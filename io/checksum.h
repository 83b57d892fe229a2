#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace spikesink {

/// CRC-32C (Castagnoli polynomial 0x1EDC6F41, reflected): crc32c("123456789") = 0xE3069283. `seed` is the sum of the
/// bytes before these, so that crc32c(b, crc32c(a)) is that of a then b. Source: RFC 3720, appendix B.4.
std::uint32_t crc32c(std::span<const std::byte> bytes, std::uint32_t seed = 0);

/// Of all bytes of a file. DataError if it cannot be read.
std::uint32_t crc32c_of_file(const std::string& path);

namespace detail {
/// crc32c() for processors without an instruction for it.
std::uint32_t crc32c_by_table(std::span<const std::byte> bytes, std::uint32_t seed);
}  // namespace detail

}  // namespace spikesink
