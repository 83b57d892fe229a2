#include "io/safetensors_header.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <stdexcept>

namespace spikesink {
namespace {
using Json = nlohmann::json;

/// Takes a header's events as they come. The form of a header is fixed, so whatever nests deeper or elsewhere is
/// refused where it begins.
class HeaderReader {
 public:
  using number_integer_t = Json::number_integer_t;
  using number_unsigned_t = Json::number_unsigned_t;
  using number_float_t = Json::number_float_t;
  using string_t = Json::string_t;
  using binary_t = Json::binary_t;

  bool null() { return unexpected("null"); }
  bool boolean(bool) { return unexpected("a truth value"); }
  bool number_float(number_float_t, const string_t&) { return unexpected("a broken number"); }
  bool binary(binary_t&) { return unexpected("binary data"); }
  bool number_integer(number_integer_t) { return unexpected("a negative number"); }
  bool number_unsigned(number_unsigned_t value) {
    constexpr auto kMost = static_cast<number_unsigned_t>(std::numeric_limits<std::int64_t>::max());
    if ((place_ != Place::kShape && place_ != Place::kOffsets) || value > kMost)
      return unexpected("a number of that size");
    numbers_.push_back(static_cast<std::int64_t>(value));
    return true;
  }
  bool string(string_t& text) {
    if (place_ == Place::kMetadata) return true;
    if (place_ != Place::kTensor || key_ != "dtype") return unexpected("text");
    const auto found = std::ranges::find(kSafeDTypes, std::string_view(text), &SafeDType::name);
    if (found == kSafeDTypes.end())
      fail(fmt::format("tensor {}: dtype '{}' is none of the format's", tensor(), shown_name(text)));
    dtype_ = *found;
    return true;
  }
  bool key(string_t& name) {
    if (place_ == Place::kTop && (!seen_.insert(name).second))
      fail(fmt::format("the name {} stands twice in the header", shown_name(name)));
    if (place_ == Place::kTensor) {
      if (name != "dtype" && name != "shape" && name != "data_offsets")
        fail(fmt::format("tensor {}: unknown key {}", tensor(), shown_name(name)));
      if (!keys_.insert(name).second) fail(fmt::format("tensor {}: {} stands twice", tensor(), name));
    }
    (place_ == Place::kTop ? name_ : key_) = name;
    return true;
  }
  bool start_object(std::size_t) {
    if (place_ == Place::kOutside) {
      place_ = Place::kTop;
    } else if (place_ == Place::kTop) {
      place_ = name_ == "__metadata__" ? Place::kMetadata : Place::kTensor;
      keys_.clear();
      dtype_.reset();
      shape_.clear(), offsets_.clear();
    } else {
      return unexpected("an object");
    }
    return true;
  }
  bool end_object() {
    if (place_ == Place::kTensor) add_tensor();
    place_ = place_ == Place::kTop ? Place::kOutside : Place::kTop;
    return true;
  }
  bool start_array(std::size_t) {
    if (place_ != Place::kTensor || (key_ != "shape" && key_ != "data_offsets")) return unexpected("a list");
    place_ = key_ == "shape" ? Place::kShape : Place::kOffsets;
    numbers_.clear();
    return true;
  }
  bool end_array() {
    (place_ == Place::kShape ? shape_ : offsets_) = std::move(numbers_);
    numbers_ = {};
    place_ = Place::kTensor;
    return true;
  }
  bool parse_error(std::size_t at, const std::string&, const Json::exception&) {
    fail(fmt::format("its header is no JSON near byte {}", at));
  }

  std::map<std::string, SafeTensor> take() { return std::move(tensors_); }

 private:
  enum class Place { kOutside, kTop, kMetadata, kTensor, kShape, kOffsets };

  [[noreturn]] static void fail(const std::string& what) { throw std::invalid_argument(what); }
  std::string tensor() const { return shown_name(name_); }
  bool unexpected(const char* what) const {
    fail(place_ == Place::kOutside || place_ == Place::kTop
             ? fmt::format("its header has {} where a tensor belongs", what)
             : fmt::format("tensor {}: {} has {}", tensor(), shown_name(key_), what));
  }
  void add_tensor() {
    if (keys_.size() != 3) fail(fmt::format("tensor {}: dtype, shape or data_offsets is missing", tensor()));
    if (offsets_.size() != 2 || offsets_[0] > offsets_[1])
      fail(fmt::format("tensor {}: data_offsets are no begin and end", tensor()));
    const std::int64_t bytes = offsets_[1] - offsets_[0];
    std::int64_t wanted = dtype_->bytes;
    bool fits = true;
    for (const std::int64_t n : shape_) fits = fits && !__builtin_mul_overflow(wanted, n, &wanted);
    if (!fits || wanted != bytes)
      fail(fmt::format("tensor {}: has {} bytes, but shape ({}) of {} {}", tensor(), bytes,
                       shown_name(fmt::format("{}", fmt::join(shape_, ", "))), dtype_->name,
                       fits ? fmt::format("needs {}", wanted) : "is more than any file holds"));
    tensors_[name_] = {.dtype = *dtype_, .shape = std::move(shape_), .offset = offsets_[0], .bytes = bytes};
  }

  Place place_ = Place::kOutside;
  std::string name_, key_;  // of the tensor, and in it
  std::set<std::string> seen_, keys_;
  std::optional<SafeDType> dtype_;
  std::vector<std::int64_t> numbers_, shape_, offsets_;
  std::map<std::string, SafeTensor> tensors_;
};

}  // namespace

std::map<std::string, SafeTensor> parse_safetensors_header(std::string_view json) {
  HeaderReader reader;
  if (!json.starts_with('{')) throw std::invalid_argument("its header does not begin with {");
  Json::sax_parse(json, &reader);
  return reader.take();
}

std::int64_t bytes_of(const SafeEntry& entry) {
  std::int64_t bytes = entry.dtype.bytes;
  for (const std::int64_t n : entry.shape) bytes *= n;
  return bytes;
}

std::string safetensors_header(std::span<const SafeEntry> entries) {
  nlohmann::ordered_json json;
  json["__metadata__"]["format"] = "pt";  // which transformers asks for
  std::int64_t at = 0;
  for (const SafeEntry& entry : entries) {
    const std::int64_t end = at + bytes_of(entry);
    json[entry.name] = {{"dtype", entry.dtype.name}, {"shape", entry.shape}, {"data_offsets", {at, end}}};
    at = end;
  }
  std::string text = json.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  return text;
}

std::string shown_name(std::string_view name) {
  constexpr std::size_t kMost = 120;
  std::string out;
  for (const char c : name.substr(0, kMost)) out += c >= ' ' && c <= '~' ? c : '?';
  return name.size() > kMost ? out + "..." : out;
}

}  // namespace spikesink
