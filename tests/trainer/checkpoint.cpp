#include "trainer/checkpoint.h"

#include <fstream>
#include <set>

#include "io/failure.h"
#include "tests/trainer/support.h"

namespace spikesink {
namespace {
namespace fs = std::filesystem;

std::set<std::string> names_in(const std::string& folder) {
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.insert(entry.path().filename().string());
  return names;
}

const TrainingState kState{
    .step = 7, .tokens = 448, .threads = 2, .config = "run: {name: x}\n", .position = R"({"step":7})"};

}  // namespace

TEST_CASE("a checkpoint gives back every bit of weights, moments and state", "[trainer][checkpoint]") {
  const bool async = GENERATE(true, false);
  const test::Setup setup = GENERATE(from_range(test::setups()));
  CAPTURE(async, test::describe(setup));
  const test::TemporaryFolder folder;
  test::Trained trained(1, test::small_model(), setup), other(2, test::small_model(), setup);
  REQUIRE(trained.state() != other.state());
  const auto saved = trained.state();
  {
    CheckpointWriter writer(folder.path(), {.async = async});
    writer.save(trained.stream, trained.model.params(), *trained.optimizer, kState);
    trained.optimizer->step(0.1, 2);  // while it is written: the copy must not see it
    writer.wait();
  }
  const std::string checkpoint = *latest_checkpoint(folder.path());
  const TrainingState state = read_state(checkpoint);
  CHECK(state.step == 7);
  CHECK(state.tokens == 448);
  CHECK(state.threads == 2);
  CHECK(state.config == kState.config);
  CHECK(state.position == kState.position);
  load_tensors(other.stream, checkpoint, other.model.params(), &*other.optimizer);
  CHECK(other.state() == saved);
  CHECK(find_checkpoint(folder.path()) == checkpoint);
  CHECK(find_checkpoint(checkpoint) == checkpoint);
}

TEST_CASE("a checkpoint of any device and precision is read on any other, rounded to its dtypes",
          "[trainer][checkpoint]") {
  const test::Setup from = GENERATE(from_range(test::setups())), to = GENERATE(from_range(test::setups()));
  CAPTURE(test::describe(from), test::describe(to));
  const test::TemporaryFolder folder;
  test::Trained written(1, test::small_model(), from);
  CheckpointWriter writer(folder.path(), {});
  writer.save(written.stream, written.model.params(), *written.optimizer, kState);
  writer.wait();
  test::Trained read(2, test::small_model(), to), weights_only(3, test::small_model(), to);
  const std::string checkpoint = *latest_checkpoint(folder.path());
  load_tensors(read.stream, checkpoint, read.model.params(), &*read.optimizer);
  load_tensors(weights_only.stream, checkpoint, weights_only.model.params(), nullptr);

  const auto rounded = [](const Tensor& t, DType dtype) {
    std::vector<double> out;
    with_stored_dtype(dtype, [&]<class T>() {
      for (const double x : test::values(t))
        out.push_back(dtype == DType::kF64 ? x : static_cast<double>(static_cast<T>(static_cast<float>(x))));
    });
    return out;
  };
  const auto check = [&](const Tensor& got, const Tensor& want) {
    if (got) CHECK(test::values(got) == rounded(want, got.dtype()));
  };
  for (std::size_t i = 0; i < written.model.params().all().size(); ++i) {
    const auto source = written.optimizer->state(i), state = read.optimizer->state(i);
    const Tensor& weight = source.master ? source.master : written.model.params().all()[i].value;
    check(read.model.params().all()[i].value, weight);
    check(weights_only.model.params().all()[i].value, weight);
    check(state.master, weight);
    check(state.m, source.m);
    check(state.v, source.v);
  }
}

TEST_CASE("the newest checkpoints stay, and latest points to the last", "[trainer][checkpoint]") {
  const test::TemporaryFolder folder;
  test::Trained trained(1);
  CheckpointWriter writer(folder.path(), {.keep = 2});
  for (const std::int64_t step : {1, 2, 3, 4})
    writer.save(trained.stream, trained.model.params(), *trained.optimizer, {.step = step, .position = "{}"});
  writer.wait();
  CHECK(names_in(folder.path()) == std::set<std::string>{"latest", "step_00000003", "step_00000004"});
  CHECK(read_state(*latest_checkpoint(folder.path())).step == 4);
}

TEST_CASE("the checkpoint just written stays, whatever higher steps are left over", "[trainer][checkpoint]") {
  const test::TemporaryFolder folder;
  test::Trained trained(1);
  CheckpointWriter writer(folder.path(), {.keep = 1});
  for (const std::int64_t step : {40, 50, 35}) {
    writer.save(trained.stream, trained.model.params(), *trained.optimizer, {.step = step, .position = "{}"});
    writer.wait();
  }
  CHECK(read_state(*latest_checkpoint(folder.path())).step == 35);
}

TEST_CASE("a resume takes back the checkpoints after it, and finds the newest where latest is missing",
          "[trainer][checkpoint]") {
  const test::TemporaryFolder folder;
  test::Trained trained(1);
  CheckpointWriter writer(folder.path(), {.keep = 0});
  for (const std::int64_t step : {1, 2, 3})
    writer.save(trained.stream, trained.model.params(), *trained.optimizer, {.step = step, .position = "{}"});
  writer.wait();
  fs::remove(folder / "latest");
  CHECK(read_state(*latest_checkpoint(folder.path())).step == 3);
  remove_checkpoints_after(folder.path(), 1);
  CHECK(names_in(folder.path()) == std::set<std::string>{"step_00000001"});
  remove_checkpoints_after(folder.path(), -1);
  CHECK_FALSE(latest_checkpoint(folder.path()));
}

TEST_CASE("a damaged or foreign checkpoint is refused with its file's name", "[trainer][checkpoint]") {
  const test::TemporaryFolder folder;
  test::Trained trained(1);
  CheckpointWriter writer(folder.path(), {});
  writer.save(trained.stream, trained.model.params(), *trained.optimizer, kState);
  writer.wait();
  const std::string checkpoint = *latest_checkpoint(folder.path()), tensors = checkpoint + "/rank_0000.h5";

  SECTION("one byte differs") {
    std::fstream file(tensors, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(fs::file_size(tensors)) / 2);
    const int byte = file.peek();
    file.put(static_cast<char>(byte ^ 1));
    file.close();
    CHECK_THROWS_WITH(read_state(checkpoint), Catch::Contains(tensors) && Catch::Contains("checksum"));
  }
  SECTION("another shape") {
    ModelConfig config = test::small_model();
    config.ffn.d_hidden = 12;
    test::Trained other(1, config);
    const auto before = other.state();
    CHECK_THROWS_WITH(load_tensors(other.stream, checkpoint, other.model.params(), nullptr),
                      Catch::Contains("another model") && Catch::Contains("gate_proj"));
  }
  SECTION("a layer more") {
    ModelConfig config = test::small_model();
    config.n_layers = 2;
    test::Trained other(1, config);
    CHECK_THROWS_WITH(load_tensors(other.stream, checkpoint, other.model.params(), nullptr),
                      Catch::Contains("another model") && Catch::Contains("layers.1"));
  }
  SECTION("state.json cut short") {
    fs::resize_file(checkpoint + "/state.json", 20);
    CHECK_THROWS_AS(read_state(checkpoint), DataError);
  }
  SECTION("latest points nowhere") {
    fs::remove_all(checkpoint);
    CHECK_THROWS_WITH(latest_checkpoint(folder.path()), Catch::Contains("latest"));
  }
}

TEST_CASE("a folder without checkpoints has none", "[trainer][checkpoint]") {
  const test::TemporaryFolder folder;
  CHECK_FALSE(latest_checkpoint(folder.path()));
  CHECK_THROWS_AS(find_checkpoint(folder.path()), DataError);
}

TEST_CASE("a checkpoint that cannot be written is an error at the next save, and leaves nothing",
          "[trainer][checkpoint]") {
  const test::TemporaryFolder folder;
  test::Trained trained(1);
  const std::string file = folder / "not_a_folder";
  std::ofstream(file) << "x";
  CheckpointWriter writer(file, {});
  writer.save(trained.stream, trained.model.params(), *trained.optimizer, kState);
  CHECK_THROWS_AS(writer.wait(), DataError);

  writer.save(trained.stream, trained.model.params(), *trained.optimizer, kState);
  std::optional<std::string> problem;
  while (!problem) problem = writer.problem();  // the loop asks after every step
  CHECK_THAT(*problem, Catch::Contains(file));
  writer.wait();  // it is told once
}

}  // namespace spikesink
