#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>
#include <thread>

#include "io/checksum.h"
#include "io/failure.h"
#include "io/h5.h"
#include "tests/trainer/support.h"
#include "tests/trainer/thread_ranks.h"
#include "trainer/checkpoint_writer.h"
#include "trainer/run_folder.h"

namespace spikesink {
namespace {
namespace fs = std::filesystem;

TrainingState at_step(std::int64_t step) { return {.step = step, .tokens = 64 * step, .position = "{}"}; }

std::vector<StateSlice> state_of(const test::Trained& trained) { return trained.optimizer->slices(); }

/// What `rank` has where the ranks share the elements of all slices in a row: some tensors as a whole, some cut, in the
/// middle of a row too.
std::vector<StateSlice> part(const std::vector<StateSlice>& slices, int rank, int world) {
  std::int64_t total = 0, at = 0;
  for (const StateSlice& slice : slices) total += slice.values.numel();
  const std::int64_t begin = total * rank / world, end = total * (rank + 1) / world;
  std::vector<StateSlice> mine;
  for (const StateSlice& slice : slices) {
    const std::int64_t n = slice.values.numel(), from = std::clamp(begin - at, std::int64_t{0}, n),
                       to = std::clamp(end - at, std::int64_t{0}, n);
    if (from < to)
      mine.push_back({slice.group, slice.name, slice.whole, from, slice.values.slice(from, Shape{to - from})});
    at += n;
  }
  return mine;
}

/// Writes the state of `trained` as `world` ranks do; returns the checkpoint.
std::string write(const std::string& folder, const test::Trained& trained, int world, std::int64_t step = 7) {
  const auto state = state_of(trained);
  test::run_ranks(world, [&](Communicator& communicator) {
    CheckpointWriter writer(folder, {}, communicator);
    writer.save(trained.stream, part(state, communicator.rank(), world), at_step(step));
    writer.wait();
  });
  return *latest_checkpoint(folder);
}

}  // namespace

TEST_CASE("a checkpoint of any number of ranks is read by any other, to the last bit", "[trainer][checkpoint][ranks]") {
  const int from = GENERATE(1, 3, 8), to = GENERATE(1, 3, 8, 16);
  const test::Setup setup = GENERATE(from_range(test::setups()));
  CAPTURE(from, to, test::describe(setup));
  const test::TemporaryFolder folder;
  const test::Trained written(1, test::small_model(), setup), read(2, test::small_model(), setup);
  const std::string checkpoint = write(folder.path(), written, from);
  const TrainingState state = read_state(checkpoint);
  CHECK(state.world == from);
  CHECK(state.tokens == 448);
  for (int rank = 0; rank < to; ++rank) {
    load_slices(read.stream, checkpoint, part(state_of(read), rank, to));
    load_slices(read.stream, checkpoint, part(weight_slices(read.model.params()), rank, to));
  }
  CHECK(read.state() == written.state());
}

TEST_CASE("a rank is given its slices and nothing beside them", "[trainer][checkpoint][ranks]") {
  const test::TemporaryFolder folder;
  const test::Trained written(1), read(2);
  const std::string checkpoint = write(folder.path(), written, 8);
  const auto want = state_of(written), have = state_of(read);
  const auto mine = part(have, 1, 3);
  std::vector<double> expected;
  for (std::size_t i = 0; i < have.size(); ++i) {
    auto values = test::values(have[i].values);
    const auto taken = test::values(want[i].values);
    for (const StateSlice& slice : mine)
      if (slice.group == have[i].group && slice.name == have[i].name)
        std::copy_n(taken.begin() + slice.first, slice.values.numel(), values.begin() + slice.first);
    std::ranges::copy(values, std::back_inserter(expected));
  }
  load_slices(read.stream, checkpoint, mine);
  std::vector<double> got;
  for (const StateSlice& slice : have) std::ranges::copy(test::values(slice.values), std::back_inserter(got));
  CHECK(got == expected);
}

TEST_CASE("a checkpoint of many ranks is read on any device and in any precision", "[trainer][checkpoint][ranks]") {
  const test::Setup from = GENERATE(from_range(test::setups())), to = GENERATE(from_range(test::setups()));
  CAPTURE(test::describe(from), test::describe(to));
  const test::TemporaryFolder folder;
  const test::Trained written(1, test::small_model(), from), by_many(2, test::small_model(), to),
      by_one(3, test::small_model(), to);
  const std::string many = write(folder / "many", written, 8), one = write(folder / "one", written, 1);
  for (int rank = 0; rank < 3; ++rank) {
    load_slices(by_many.stream, many, part(state_of(by_many), rank, 3));
    load_slices(by_many.stream, many, part(weight_slices(by_many.model.params()), rank, 3));
  }
  load_slices(by_one.stream, one, state_of(by_one));
  load_slices(by_one.stream, one, weight_slices(by_one.model.params()));
  CHECK(by_many.state() == by_one.state());
}

TEST_CASE("a file has a whole tensor in its shape, and of a cut one says what it has", "[trainer][checkpoint][ranks]") {
  const test::TemporaryFolder folder;
  const test::Trained trained(1);
  const std::string checkpoint = write(folder.path(), trained, 5);
  CHECK(test::names_in(checkpoint) == std::set<std::string>{"rank_0000.h5", "rank_0001.h5", "rank_0002.h5",
                                                            "rank_0003.h5", "rank_0004.h5", "state.json"});
  const auto slices = state_of(trained);
  int num_cut = 0;
  for (int rank = 0; rank < 5; ++rank) {
    const H5File file = H5File::open(checkpoint + "/" + rank_file(rank));
    for (const StateSlice& slice : part(slices, rank, 5)) {
      const std::string name = slice.group + slice.name;
      CAPTURE(rank, name);
      const std::vector<std::int64_t> shape{slice.whole.begin(), slice.whole.end()};
      const bool cut = slice.values.numel() != slice.whole.numel();
      num_cut += cut;
      CHECK(file.dims(name) == (cut ? std::vector{slice.values.numel()} : shape));
      CHECK(file.has_attribute(name, "first") == cut);
      if (!cut) continue;
      CHECK(file.number_attribute<std::int64_t>(name, "first") == slice.first);
      CHECK(file.list_attribute(name, "shape") == shape);
      CHECK(file.read<double>(name) == test::values(slice.values));
    }
  }
  CHECK(num_cut >= 4);  // both sides of cuts
}

TEST_CASE("what many ranks left unfinished is no checkpoint", "[trainer][checkpoint][ranks]") {
  const test::TemporaryFolder folder;
  const test::Trained trained(1);
  const std::string first = write(folder.path(), trained, 3);
  test::run_ranks(3, [&](Communicator& communicator) {
    CheckpointWriter writer(folder.path(), {}, communicator);
    writer.save(trained.stream, part(state_of(trained), communicator.rank(), 3), at_step(8));
  });  // killed before they could agree
  CHECK(test::names_in(folder.path()) == std::set<std::string>{"latest", "step_00000007", "step_00000008.unfinished"});
  CHECK(*latest_checkpoint(folder.path()) == first);
  fs::remove(folder / "latest");
  CHECK(*latest_checkpoint(folder.path()) == first);

  // Another number of ranks comes to the same step.
  const std::string second = write(folder.path(), trained, 2, 8);
  CHECK(read_state(second).world == 2);
  const test::Trained read(2);
  load_slices(read.stream, second, state_of(read));
  CHECK(read.state() == trained.state());
}

TEST_CASE("a rank's file that is missing, damaged or lacks elements is named", "[trainer][checkpoint][ranks]") {
  const test::TemporaryFolder folder;
  const test::Trained trained(1), read(2);
  const auto slices = state_of(trained);
  const std::string checkpoint = write(folder.path(), trained, 3), file = checkpoint + "/rank_0001.h5";
  const auto load = [&] { load_slices(read.stream, checkpoint, state_of(read)); };

  SECTION("all of it, by a run that goes on while another process reads") {
    fs::remove_all(checkpoint);
    CHECK_THROWS_WITH(read_state(checkpoint), Catch::StartsWith(checkpoint + ": is not there any more"));
    CHECK_THROWS_WITH(load(), Catch::StartsWith(checkpoint + ": is not there any more"));
  }
  SECTION("missing") {
    fs::remove(file);
    const std::string told = "the checkpoint is incomplete; use an older step_";
    CHECK_THROWS_WITH(read_state(checkpoint), Catch::StartsWith(file) && Catch::Contains(told));
    CHECK_THROWS_WITH(load(), Catch::StartsWith(file) && Catch::Contains(told));
  }
  SECTION("damaged") {
    std::fstream bytes(file, std::ios::in | std::ios::out | std::ios::binary);
    bytes.seekp(static_cast<std::streamoff>(fs::file_size(file)) / 2);
    const int byte = bytes.peek();
    bytes.put(static_cast<char>(byte ^ 1));
    bytes.close();
    CHECK_THROWS_WITH(read_state(checkpoint), Catch::Contains(file) && Catch::Contains("checksum"));
    CHECK(read_state(checkpoint, 0, 2).step == 7);  // the share of one of two ranks
    CHECK_THROWS_WITH(read_state(checkpoint, 1, 2), Catch::Contains(file));
  }
  const auto replace = [&](auto&& change) {
    auto mine = part(slices, 1, 3);
    change(mine);
    HostCopy copy;
    copy.take(trained.stream, mine);
    copy.write(file);
  };
  SECTION("without the middle of a tensor") {
    const StateSlice cut = part(slices, 1, 3).front();  // which rank 0 has the beginning of
    REQUIRE(cut.first > 0);
    replace([&](auto& mine) {
      mine.front().values = cut.values.slice(2, Shape{cut.values.numel() - 2}), mine.front().first += 2;
    });
    CHECK_THROWS_WITH(load(), Catch::Contains(fmt::format("elements {} to {} of {}{} are missing", cut.first,
                                                          cut.first + 1, cut.group, cut.name)));
  }
  SECTION("without a whole tensor") {
    const StateSlice gone = part(slices, 1, 3)[1];
    REQUIRE(gone.values.numel() == gone.whole.numel());
    replace([](auto& mine) { mine.erase(mine.begin() + 1); });
    CHECK_THROWS_WITH(load(), Catch::Contains("another model") && Catch::Contains(gone.group + gone.name));
  }
  SECTION("with a stretch of another shape") {
    const StateSlice cut = part(slices, 1, 3).front();
    replace([](auto& mine) { mine.front().whole = Shape{mine.front().whole.numel()}; });
    CHECK_THROWS_WITH(
        load(), Catch::Contains(file) && Catch::Contains("another model") && Catch::Contains(cut.group + cut.name));
  }
}

TEST_CASE("a rank that cannot write is known to all, and the next save is whole", "[trainer][checkpoint][ranks]") {
  const int world = 3, failing = GENERATE(0, 1, 2);
  CAPTURE(failing);
  const test::TemporaryFolder folder;
  const test::Trained trained(1);
  const std::string unfinished = folder / "step_00000007.unfinished";
  fs::create_directories(unfinished + "/" + rank_file(failing));  // no file can be made here
  std::vector<std::string> problems(world), second(world);
  std::vector<int> left(world);
  test::run_ranks(world, [&](Communicator& communicator) {
    const auto rank = static_cast<std::size_t>(communicator.rank());
    CheckpointWriter writer(folder.path(), {}, communicator);
    const auto mine = part(state_of(trained), communicator.rank(), world);
    writer.save(trained.stream, mine, at_step(7));
    std::optional<std::string> problem;
    while (!problem) {  // the loop asks after every step
      writer.advance();
      problem = writer.problem();
    }
    problems[rank] = *problem;
    left[rank] = fs::exists(unfinished);
    communicator.barrier();

    if (rank == 0) fs::create_directories(folder / ("step_00000008.unfinished/" + rank_file(failing)));
    communicator.barrier();
    writer.save(trained.stream, mine, at_step(8));
    try {
      writer.wait();
    } catch (const DataError& error) {
      second[rank] = error.what();
    }
    writer.save(trained.stream, mine, at_step(9));
    writer.wait();
  });
  for (int rank = 0; rank < world; ++rank) {
    const auto r = static_cast<std::size_t>(rank);
    CHECK_THAT(problems[r], Catch::StartsWith(unfinished + "/" + rank_file(failing)));
    CHECK_FALSE(left[r]);
    CHECK_THAT(second[r], Catch::Contains("step_00000008.unfinished/" + rank_file(failing)));
  }
  CHECK(test::names_in(folder.path()) == std::set<std::string>{"latest", "step_00000009"});
  CHECK(read_state(*latest_checkpoint(folder.path())).step == 9);
}

TEST_CASE("a failed checkpoint that the next save finds is made up by that one", "[trainer][checkpoint][ranks]") {
  const bool async = GENERATE(true, false), asked = GENERATE(true, false);
  CAPTURE(async, asked);
  const test::TemporaryFolder folder;
  const test::Trained trained(1);
  const std::string file = folder / ("step_00000007.unfinished/" + rank_file(1));
  fs::create_directories(file);
  std::vector<std::string> problems(2);
  test::run_ranks(2, [&](Communicator& communicator) {
    CheckpointWriter writer(folder.path(), {.async = async}, communicator);
    const auto mine = part(state_of(trained), communicator.rank(), 2);
    writer.save(trained.stream, mine, at_step(7));
    writer.save(trained.stream, mine, at_step(8));
    if (asked) problems[static_cast<std::size_t>(communicator.rank())] = writer.problem().value_or("none");
    writer.wait();
  });
  for (const std::string& problem : problems) CHECK_THAT(problem, Catch::StartsWith(asked ? file : ""));
  CHECK(test::names_in(folder.path()) == std::set<std::string>{"latest", "step_00000008"});
}

TEST_CASE("a second checkpoint that fails after another ends the run", "[trainer][checkpoint][ranks]") {
  const bool async = GENERATE(true, false);
  CAPTURE(async);
  const test::TemporaryFolder folder;
  const test::Trained trained(1);
  for (const int step : {7, 8})
    fs::create_directories(unfinished_name(folder / RunFolder::step_name(step)) + "/rank_0001.h5");
  std::vector<std::string> errors(2);
  std::vector<std::int64_t> last(2);
  test::run_ranks(2, [&](Communicator& communicator) {
    const auto rank = static_cast<std::size_t>(communicator.rank());
    CheckpointWriter writer(folder.path(), {.async = async}, communicator);
    try {
      for (const std::int64_t step : {7, 8, 9}) {
        last[rank] = step;
        writer.save(trained.stream, part(state_of(trained), communicator.rank(), 2), at_step(step));
      }
    } catch (const DataError& error) {
      errors[rank] = error.what();
    }
  });
  for (const std::string& error : errors) CHECK_THAT(error, Catch::Contains("step_00000008.unfinished/rank_0001.h5"));
  CHECK(last == std::vector<std::int64_t>(2, async ? 9 : 8));
}

TEST_CASE("a checkpoint that rank 0 cannot put in place is known to all", "[trainer][checkpoint][ranks]") {
  const test::TemporaryFolder folder;
  const test::Trained trained(1);
  fs::create_directories(folder / "latest/in the way");
  std::vector<std::string> problems(2);
  test::run_ranks(2, [&](Communicator& communicator) {
    CheckpointWriter writer(folder.path(), {}, communicator);
    writer.save(trained.stream, part(state_of(trained), communicator.rank(), 2), at_step(7));
    try {
      writer.wait();
    } catch (const DataError& error) {
      problems[static_cast<std::size_t>(communicator.rank())] = error.what();
    }
  });
  CHECK_THAT(problems[0], Catch::Contains(folder / "latest"));
  CHECK(problems[1] == problems[0]);
}

TEST_CASE("a checkpoint of ranks that do not see one folder is not put in place", "[trainer][checkpoint][ranks]") {
  const test::TemporaryFolder folder;
  const test::Trained trained(1);
  std::vector<std::string> problems(2);
  test::run_ranks(2, [&](Communicator& communicator) {
    const auto rank = static_cast<std::size_t>(communicator.rank());
    CheckpointWriter writer(folder / std::to_string(rank), {}, communicator);
    writer.save(trained.stream, part(state_of(trained), communicator.rank(), 2), at_step(7));
    try {
      writer.wait();
    } catch (const DataError& error) {
      problems[rank] = error.what();
    }
  });
  CHECK_THAT(problems[0], Catch::Contains("0/step_00000007.unfinished/rank_0001.h5: is not there"));
  CHECK(problems[1] == problems[0]);
  CHECK(whole_checkpoints(folder / "0").empty());
}

TEST_CASE("old checkpoints of many ranks go, with all of their files", "[trainer][checkpoint][ranks]") {
  const test::TemporaryFolder folder;
  const test::Trained trained(1);
  test::run_ranks(3, [&](Communicator& communicator) {
    CheckpointWriter writer(folder.path(), {.keep = 2, .async = false}, communicator);
    for (const std::int64_t step : {1, 2, 3, 4})
      writer.save(trained.stream, part(state_of(trained), communicator.rank(), 3), at_step(step));
  });
  CHECK(test::names_in(folder.path()) == std::set<std::string>{"latest", "step_00000003", "step_00000004"});
}

TEST_CASE("a step is only told of a checkpoint that is under way", "[trainer][checkpoint][ranks]") {
  /// Counts what is exchanged.
  struct Counting final : Communicator {
    int rank() const override { return 0; }
    int world() const override { return 1; }
    Transfer reduce_scatter(const Stream&, const Tensor&, const Tensor&) override { return {}; }
    Transfer all_gather(const Stream&, const Tensor&, const Tensor&) override { return {}; }
    Transfer all_reduce(const Stream&, const Tensor&) override { return {}; }
    std::vector<std::byte> exchange(std::span<const std::byte> mine) override {
      ++exchanges;
      return {mine.begin(), mine.end()};
    }
    std::vector<std::byte> from_rank_0(std::span<const std::byte> text) override { return {text.begin(), text.end()}; }
    int exchanges = 0;
  } communicator;
  const test::TemporaryFolder folder;
  const test::Trained trained(1);
  CheckpointWriter writer(folder.path(), {}, communicator);
  writer.advance();
  CHECK(communicator.exchanges == 0);
  writer.save(trained.stream, state_of(trained), at_step(7));
  writer.advance();
  CHECK(communicator.exchanges > 0);
  writer.wait();
  CHECK(latest_checkpoint(folder.path()));
  const int before = communicator.exchanges;
  writer.advance();
  CHECK(communicator.exchanges == before);
}

}  // namespace spikesink
