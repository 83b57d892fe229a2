#pragma once
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

// What reads input that is not ours, one target a reader. Any bytes must end in success or in a Failure of one line;
// what else a target promises of what it reads it says with require(). Built twice: as a test that replays the corpora,
// and with libFuzzer (entry.cpp).
namespace spikesink::fuzz {

struct Target {
  std::string_view name;  ///< of its folder in tests/fuzz/corpus too
  void (*read)(std::string_view input);
};

/// Calls f, of which a Failure of one line is a good end. Throws whatever else comes out.
void attempt(const std::function<void()>& f);
/// attempt() of the target with this input.
void run(const Target& target, std::string_view input);

/// All of the program, by name. A target is a static object `const Registration kX{{"name", read}}`.
const std::vector<Target>& targets();
struct Registration {
  explicit Registration(const Target& target);
};

/// A path in a folder of this process, for files that a target writes; the folder is removed at the end.
std::string scratch(const std::string& name);
/// Writes the bytes to scratch(name), which it returns.
std::string write_scratch(const std::string& name, std::string_view bytes);

/// A config that is sound, for targets that extend one.
inline constexpr std::string_view kBaseConfig =
    "model: {d_model: 32, n_layers: 2, vocab_size: 258, attention: {n_heads: 4}}\n"
    "data: {train: [x.jsonl], tokenizer: bytes}\ntrain: {steps: 10}\n";

/// The part of `input` before the first `separator`, which both it and the separator leave; all of it if there is none.
std::string_view take_until(std::string_view& input, char separator);

/// Decisions that an input makes, byte by byte; zeros when it is used up.
class Choices {
 public:
  explicit Choices(std::string_view input) : left_(input) {}

  bool empty() const { return left_.empty(); }
  template <class T>
  T number() {
    T value{};
    const std::size_t n = std::min(sizeof value, left_.size());
    std::memcpy(&value, left_.data(), n);
    left_.remove_prefix(n);
    return value;
  }
  /// In [0, n).
  std::size_t below(std::size_t n) { return number<std::uint8_t>() % n; }
  /// A number that is small, near a power of two, or any.
  std::int64_t count() {
    const auto kind = below(4), byte = below(256);
    if (kind < 2) return static_cast<std::int64_t>(byte % 16);
    if (kind == 2)
      return static_cast<std::int64_t>((std::uint64_t{1} << (byte % 64)) + (byte >= 128 ? ~std::uint64_t{0} : 0));
    return number<std::int64_t>();
  }

 private:
  std::string_view left_;
};

}  // namespace spikesink::fuzz
