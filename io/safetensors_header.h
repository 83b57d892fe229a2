#pragma once
#include <map>
#include <span>
#include <string>
#include <string_view>

#include "io/safetensors.h"

namespace spikesink {

/// The tensors of a header's JSON, their offsets counted from the end of the header. std::invalid_argument says what is
/// wrong with it; whether tensors overlap or leave holes is not looked at.
std::map<std::string, SafeTensor> parse_safetensors_header(std::string_view json);
/// A header of entries that follow one another, padded to a multiple of 8 bytes.
std::string safetensors_header(std::span<const SafeEntry> entries);
/// Of its elements.
std::int64_t bytes_of(const SafeEntry& entry);

/// A name from a file, for a message: one short line of ASCII.
std::string shown_name(std::string_view name);

}  // namespace spikesink
