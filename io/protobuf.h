#pragma once
#include <bit>
#include <cstdint>
#include <string>
#include <string_view>

namespace spikesink {
// What of protobuf's wire format is written here. A field is keyed by its number << 3 | wire type.
// Source: protobuf.dev/programming-guides/encoding.
static_assert(std::endian::native == std::endian::little, "numbers are stored as they are in memory");

enum Wire : std::uint64_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };
constexpr std::uint64_t field_key(std::uint64_t field, Wire wire) { return field << 3 | wire; }

/// The bytes of a number as they are.
void put_raw(std::string& to, const auto& number) { to.append(reinterpret_cast<const char*>(&number), sizeof number); }
inline void put_varint(std::string& to, std::uint64_t number) {
  for (; number >= 0x80; number >>= 7) to += static_cast<char>(number | 0x80);
  to += static_cast<char>(number);
}

// A field: a message under construction, its number, its value.
inline void put_bytes(std::string& to, std::uint64_t field, std::string_view bytes) {
  put_varint(to, field_key(field, kBytes));
  put_varint(to, bytes.size());
  to += bytes;
}
inline void put_integer(std::string& to, std::uint64_t field, std::uint64_t number) {
  put_varint(to, field_key(field, kVarint));
  put_varint(to, number);
}
inline void put_double(std::string& to, std::uint64_t field, double number) {
  put_varint(to, field_key(field, kFixed64));
  put_raw(to, number);
}
inline void put_float(std::string& to, std::uint64_t field, float number) {
  put_varint(to, field_key(field, kFixed32));
  put_raw(to, number);
}

}  // namespace spikesink
