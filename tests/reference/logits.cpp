// Logits of a checkpoint, for tests/end_to_end/huggingface_test.py to hold against transformers:
//
//     reference_logits CHECKPOINT TOKENS LENGTH OUT
//
// TOKENS is a file of i32, rows of LENGTH tokens; OUT gets the logits, f32 (rows, LENGTH, V).
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <string>
#include <vector>

#include "configs/reader.h"
#include "io/atomic_file.h"
#include "io/failure.h"
#include "tests/reference/logits_of.h"
#include "trainer/checkpoint.h"

namespace spikesink {
namespace {

int run(const std::vector<std::string>& arguments) {
  if (arguments.size() != 4) throw UsageError("usage: reference_logits CHECKPOINT TOKENS LENGTH OUT");
  const std::string checkpoint = find_checkpoint(arguments[0]), bytes = read_file(arguments[1]);
  const auto* ids = reinterpret_cast<const std::int32_t*>(bytes.data());
  const std::vector<std::int32_t> tokens(ids, ids + bytes.size() / sizeof(std::int32_t));
  const Config config = read_config_text(read_state(checkpoint).config, checkpoint);
  const Stream stream = Stream::cpu();
  Decoder model(config.model);
  model.params().allocate(stream, DType::kF32, /*grads=*/false);
  load_slices(stream, checkpoint, weight_slices(model.params()));
  const Tensor logits = logits_of(stream, model, tokens, std::atoll(arguments[2].c_str()));
  std::ofstream out(arguments[3], std::ios::binary);
  out.write(reinterpret_cast<const char*>(logits.data<float>()), static_cast<std::streamsize>(logits.bytes()));
  if (!out.flush()) throw DataError(arguments[3] + ": cannot be written");
  return 0;
}

}  // namespace
}  // namespace spikesink

int main(int argc, char** argv) {
  try {
    return spikesink::run({argv + 1, argv + argc});
  } catch (const std::exception& error) {
    std::fprintf(stderr, "reference_logits: %s\n", error.what());
    return 1;
  }
}
