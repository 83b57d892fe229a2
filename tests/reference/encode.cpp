// The ids of texts for tests/reference/tokenizers.py to hold against the tokenizers' own libraries:
//
//     reference_encode TOKENIZER           prints vocab_size, end and begin of text (-1: none), then texts to ids
//     reference_encode TOKENIZER time N    prints seconds of a core that N rounds over all texts take, one a line
//
// Texts on stdin, each a u32 of its bytes and these. On stdout for each of them a u32 of its ids, these as i32, a u32
// of the bytes that they decode to, and these. All numbers as the machine has them.
#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <exception>
#include <optional>
#include <string>
#include <vector>

#include "data/tokenizer.h"

namespace spikesink {
namespace {

std::optional<std::string> read_text() {
  std::uint32_t bytes = 0;
  if (std::fread(&bytes, sizeof bytes, 1, stdin) != 1) return std::nullopt;
  std::string text(bytes, '\0');
  if (std::fread(text.data(), 1, bytes, stdin) != bytes) return std::nullopt;
  return text;
}

template <class T>
void write_counted(const T& values) {
  const auto count = static_cast<std::uint32_t>(values.size());
  std::fwrite(&count, sizeof count, 1, stdout);
  std::fwrite(values.data(), sizeof(values[0]), count, stdout);
}

void write_all(const Tokenizer& tokenizer) {
  fmt::print("{} {} {}\n", tokenizer.vocab_size(), tokenizer.end_of_text(), tokenizer.begin_of_text().value_or(-1));
  while (const auto text = read_text()) {
    std::vector<std::int32_t> ids;
    tokenizer.encode(*text, ids);
    write_counted(ids);
    write_counted(tokenizer.decode(ids));
  }
}

void time_all(const Tokenizer& tokenizer, int rounds) {
  std::vector<std::string> texts;
  while (auto text = read_text()) texts.push_back(std::move(*text));
  std::vector<std::int32_t> ids;
  for (int i = 0; i < rounds; ++i) {
    const std::clock_t start = std::clock();
    for (const std::string& text : texts) {
      ids.clear();
      tokenizer.encode(text, ids);
    }
    fmt::print("{}\n", static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC);
    std::fflush(stdout);
  }
}

}  // namespace
}  // namespace spikesink

int main(int argc, char** argv) {
  const bool time = argc == 4 && std::strcmp(argv[2], "time") == 0;
  if (argc != 2 && !time) {
    fmt::print(stderr, "usage: reference_encode TOKENIZER [time N] <TEXTS >IDS\n");
    return 2;
  }
  try {
    const auto tokenizer = spikesink::make_tokenizer(argv[1]);
    time ? spikesink::time_all(*tokenizer, std::atoi(argv[3])) : spikesink::write_all(*tokenizer);
  } catch (const std::exception& error) {
    fmt::print(stderr, "reference_encode: {}\n", error.what());
    return 1;
  }
  return 0;
}
