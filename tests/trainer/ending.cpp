#include <catch2/catch.hpp>
#include <fstream>
#include <sstream>

#include "data/stream_loader.h"
#include "data/tokenizer.h"
#include "io/failure.h"
#include "kernels/core/gpu.h"
#include "tests/trainer/support.h"
#include "trainer/run_log.h"
#include "trainer/trainer.h"

namespace spikesink {
namespace {

std::string text_of(const std::string& file) {
  std::ostringstream text;
  text << std::ifstream(file).rdbuf();
  return text.str();
}

/// A probe that fails in a way that nobody foresaw.
struct BrokenProbe final : Probe {
  Scalars measure(std::int64_t, const std::string&) override { throw std::runtime_error("the probe broke"); }
};

/// Of one rank; how often it was given up, and what memory was in use then.
struct Abandoned final : Communicator {
  int rank() const override { return alone_->rank(); }
  int world() const override { return alone_->world(); }
  Transfer reduce_scatter(const Stream& stream, const Tensor& to, const Tensor& from) override {
    return alone_->reduce_scatter(stream, to, from);
  }
  Transfer all_gather(const Stream& stream, const Tensor& to, const Tensor& from) override {
    return alone_->all_gather(stream, to, from);
  }
  Transfer all_reduce(const Stream& stream, const Tensor& t) override { return alone_->all_reduce(stream, t); }
  std::vector<std::byte> exchange(std::span<const std::byte> mine) override { return alone_->exchange(mine); }
  std::vector<std::byte> from_rank_0(std::span<const std::byte> text) override { return alone_->from_rank_0(text); }
  void abandon() noexcept override {
    ++times;
    live = pool->live_bytes();
  }

  std::shared_ptr<Pool> pool;
  int times = 0;
  std::int64_t live = 0;  ///< bytes of the pool, then

 private:
  std::shared_ptr<Communicator> alone_ = alone();
};

}  // namespace

TEST_CASE("an exception that ends a run stands in its log, whatever its type", "[trainer][ending]") {
  const test::TemporaryFolder folder;
  std::ofstream(folder / "shard.jsonl") << "{\"text\": \"one document that is long enough for a sample or two\"}\n";
  const auto tokenizer = make_tokenizer("bytes");
  ModelConfig config = test::small_model();
  config.vocab_size = tokenizer->vocab_size();
  const TrainConfig training{.steps = 2, .batch_tokens = config.context};
  StreamLoader loader({.data = {.train = {folder / "shard.jsonl"}, .holdout = 0},
                       .tokenizer = *tokenizer,
                       .context = config.context,
                       .sequences = 1,
                       .seed = 1});
  const Stream stream = Stream::cpu(1);
  Decoder model(config);
  Abandoned communicator;
  communicator.pool = stream.pool;
  BrokenProbe probe;
  const RunFolder run(folder / "run");
  run.make();
  CHECK_THROWS_WITH(train({.stream = stream,
                           .communicator = communicator,
                           .model = model,
                           .loader = loader,
                           .probe = probe,
                           .folder = run,
                           .train = training,
                           .precision = DType::kF32,
                           .state_precision = StatePrecision::kF32,
                           .shards = {},
                           .seed = 1,
                           .checkpoint = {},
                           .logging = {}}),
                    "the probe broke");
  CHECK(text_of(run.log()).ends_with("internal error: the probe broke\n"));
  CHECK(communicator.times == 1);
  CHECK(communicator.live > stream.pool->live_bytes());  // before the memory of the run was freed
}

TEST_CASE("an exception ends the program with its code and one line", "[trainer][ending]") {
  const auto check = [](const std::exception& error, ExitCode code, const std::string& text) {
    const Ending ending = ending_of(error);
    CHECK(ending.code == code);
    CHECK(ending.text == text);
  };
  const std::string mend = "; lower train.micro_batch, train.batch_tokens, model.context or the model's size";
  check(DataError("a.jsonl:3: broken"), ExitCode::kData, "a.jsonl:3: broken");
  check(std::bad_alloc(), ExitCode::kUsage, "out of memory" + mend);
  check(CudaOutOfMemory("out of memory of the GPU: 7 bytes more"), ExitCode::kUsage,
        "out of memory of the GPU: 7 bytes more" + mend);
  CHECK_THAT(ending_of(std::bad_alloc(), MemoryOf::kOthers).text,
             Catch::Contains("ulimit -v") && !Catch::Contains("train."));
  CHECK_THAT(ending_of(CudaOutOfMemory("of the GPU"), MemoryOf::kOthers).text, Catch::Contains("--sizes"));
  check(CudaError("x.cu:3: launch"), ExitCode::kInternal, "internal error: x.cu:3: launch");
}

TEST_CASE("a log that cannot be written does not hide what ended the run", "[trainer][ending]") {
  CHECK_THROWS_WITH(noting_failure("/dev/full", []() -> int { throw std::runtime_error("the cause"); }), "the cause");
}

}  // namespace spikesink
