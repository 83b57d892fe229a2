#include "data/sentencepiece_model.h"

#include <bit>
#include <functional>

namespace spikesink {
namespace {

/// A field of a protobuf message: a number, or bytes; four bytes as a number too.
struct Field {
  std::uint64_t number = 0, value = 0;
  std::string_view bytes;
};

std::optional<std::uint64_t> take_varint(std::string_view& from) {
  std::uint64_t value = 0;
  for (int shift = 0; shift < 64 && !from.empty(); shift += 7) {
    const auto byte = static_cast<unsigned char>(from[0]);
    from.remove_prefix(1);
    value |= static_cast<std::uint64_t>(byte & 0x7F) << shift;
    if (byte < 0x80) return value;
  }
  return std::nullopt;
}

/// False if the bytes are no message, or `use` says so of a field.
bool for_each_field(std::string_view message, const std::function<bool(const Field&)>& use) {
  while (!message.empty()) {
    const auto key = take_varint(message);
    if (!key) return false;
    Field field{.number = *key >> 3, .value = 0, .bytes = {}};
    const auto kind = *key & 7;
    std::uint64_t size = kind == 1 ? 8 : kind == 5 ? 4 : 0;
    if (kind == 0 || kind == 2) {
      const auto number = take_varint(message);
      if (!number) return false;
      (kind == 0 ? field.value : size) = *number;
    } else if (size == 0) {
      return false;
    }
    if (size > message.size()) return false;
    field.bytes = message.substr(0, size);
    message.remove_prefix(size);
    if (kind == 5)
      for (int i = 3; i >= 0; --i)
        field.value = field.value << 8 | static_cast<unsigned char>(field.bytes[static_cast<std::size_t>(i)]);
    if (!use(field)) return false;
  }
  return true;
}

}  // namespace

std::optional<SentencePieceModel> parse_sentencepiece_model(std::string_view content) {
  SentencePieceModel model;
  const auto piece = [&](std::string_view message) {
    SentencePieceModel::Piece& p = model.pieces.emplace_back();
    return for_each_field(message, [&](const Field& f) {
      if (f.number == 1) p.text = f.bytes;
      if (f.number == 2) p.score = std::bit_cast<float>(static_cast<std::uint32_t>(f.value));
      if (f.number == 3) p.type = static_cast<SentencePieceModel::Type>(f.value);
      return true;
    });
  };
  const auto trainer = [&](std::string_view message) {
    return for_each_field(message, [&](const Field& f) {
      if (f.number == 3) model.pair_encoding = f.value == 2;
      if (f.number == 24) model.whitespace_as_suffix = f.value != 0;
      if (f.number == 35) model.byte_fallback = f.value != 0;
      return true;
    });
  };
  const auto normalizer = [&](std::string_view message) {
    return for_each_field(message, [&](const Field& f) {
      if (f.number == 2) model.identity = f.bytes.empty();
      if (f.number == 3) model.space_in_front = f.value != 0;
      if (f.number == 4) model.remove_extra_whitespaces = f.value != 0;
      if (f.number == 5) model.escape_whitespaces = f.value != 0;
      return true;
    });
  };
  const bool whole = for_each_field(content, [&](const Field& f) {
    return f.number == 1   ? piece(f.bytes)
           : f.number == 2 ? trainer(f.bytes)
           : f.number == 3 ? normalizer(f.bytes)
                           : true;
  });
  return whole ? std::optional(std::move(model)) : std::nullopt;
}

}  // namespace spikesink
