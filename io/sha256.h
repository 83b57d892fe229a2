#pragma once
#include <string>
#include <string_view>

namespace spikesink {

/// SHA-256 in 64 lower-case hexadecimal digits: to know a published file by its sum. Source: FIPS 180-4, section 6.2.
std::string sha256_hex(std::string_view bytes);

}  // namespace spikesink
