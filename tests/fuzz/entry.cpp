// libFuzzer's way in. One program has all targets, `fuzz --target=NAME`, since they share nearly all of their code.
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "tests/fuzz/target.h"

namespace {

const spikesink::fuzz::Target* chosen = nullptr;

}  // namespace

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  constexpr std::string_view kOption = "--target=";  // of two dashes, which libFuzzer leaves to the program
  for (int i = 1; i < *argc; ++i)
    if (const std::string_view word = (*argv)[i]; word.starts_with(kOption))
      for (const auto& target : spikesink::fuzz::targets())
        if (target.name == word.substr(kOption.size())) chosen = &target;
  if (chosen != nullptr) return 0;
  std::fprintf(stderr, "fuzz: name a target, --target=NAME:");
  for (const auto& target : spikesink::fuzz::targets())
    std::fprintf(stderr, " %.*s", static_cast<int>(target.name.size()), target.name.data());
  std::fprintf(stderr, "\n");
  std::exit(2);
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  spikesink::fuzz::run(*chosen, {reinterpret_cast<const char*>(data), size});
  return 0;
}
