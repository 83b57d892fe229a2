#include "trainer/checkpoint.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include <chrono>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <numeric>
#include <set>
#include <thread>

#include "io/atomic_file.h"
#include "io/checksum.h"
#include "io/failure.h"
#include "io/h5.h"
#include "tests/trainer/support.h"
#include "trainer/checkpoint_writer.h"
#include "trainer/resume_point.h"

namespace spikesink {
namespace {
namespace fs = std::filesystem;

const TrainingState kState{
    .step = 7, .tokens = 448, .threads = 2, .config = "run: {name: x}\n", .position = R"({"step":7})"};

/// A writer of a run of one process.
struct Writer : CheckpointWriter {
  explicit Writer(const std::string& folder, const CheckpointConfig& config = {})
      : CheckpointWriter(folder, config, one()) {}
  void save(const test::Trained& trained, const TrainingState& state = kState) {
    CheckpointWriter::save(trained.stream, trained.optimizer->slices(), state);
  }
  static Communicator& one() {
    static const auto only = alone();
    return *only;
  }
};

/// A figure of this process, in bytes: VmRSS or VmHWM, its highest.
std::int64_t memory(const std::string& figure) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with(figure + ":")) return std::stoll(line.substr(figure.size() + 1)) * 1024;
  return 0;
}

void load(const std::string& checkpoint, const test::Trained& into) {
  load_slices(into.stream, checkpoint, into.optimizer->updated_slices());
  load_slices(into.stream, checkpoint, weight_slices(into.model.params()));
}

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
    Writer writer(folder.path(), {.async = async});
    writer.save(trained);
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
  load(checkpoint, other);
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
  Writer writer(folder.path());
  writer.save(written);
  writer.wait();
  test::Trained read(2, test::small_model(), to), weights_only(3, test::small_model(), to);
  const std::string checkpoint = *latest_checkpoint(folder.path());
  load(checkpoint, read);
  load_slices(weights_only.stream, checkpoint, weight_slices(weights_only.model.params()));

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

TEST_CASE("a checkpoint of format 1, of one rank with whole tensors, is still read", "[trainer][checkpoint]") {
  const test::TemporaryFolder folder;
  const test::Trained trained(1), read(2);
  H5File file = H5File::create(folder / "rank_0000.h5");
  for (const StateSlice& slice : trained.optimizer->slices())
    file.write<float>(slice.group + slice.name, slice.values.span<float>(), {slice.whole.begin(), slice.whole.end()});
  file.close();
  std::ofstream(folder / "state.json") << R"({"format": 1, "program": "spikesink 0.1.0", "step": 7, "tokens": 448,
    "world": 1, "threads": 2, "config": "run: {name: x}\n", "data": {"step": 7}, "crc32c": {"rank_0000.h5": ")"
                                       << fmt::format("{:08x}", crc32c_of_file(folder / "rank_0000.h5")) << "\"}}";
  CHECK(read_state(folder.path()).tokens == 448);
  load(folder.path(), read);
  CHECK(read.state() == trained.state());
}

TEST_CASE("a checkpoint of a later format is refused, with the numbers", "[trainer][checkpoint]") {
  const test::TemporaryFolder folder;
  std::ofstream(folder / "state.json") << R"({"format": 3})";
  CHECK_THROWS_WITH(read_state(folder.path()), Catch::Contains("format 3, this program reads 1 to 2"));
}

TEST_CASE("the newest checkpoints stay, and latest points to the last", "[trainer][checkpoint]") {
  const test::TemporaryFolder folder;
  test::Trained trained(1);
  Writer writer(folder.path(), {.keep = 2});
  for (const std::int64_t step : {1, 2, 3, 4}) writer.save(trained, {.step = step, .position = "{}"});
  writer.wait();
  CHECK(test::names_in(folder.path()) == std::set<std::string>{"latest", "step_00000003", "step_00000004"});
  CHECK(read_state(*latest_checkpoint(folder.path())).step == 4);
}

TEST_CASE("the newest checkpoint is one that a kill kept latest from, if it is whole", "[trainer][checkpoint]") {
  const test::TemporaryFolder folder;
  for (const std::int64_t step : {7, 8}) {
    TrainingState state = kState;
    state.step = step;
    Writer(folder.path()).save(test::Trained(1), state);
  }
  const std::string latest = folder / "latest", next = latest + ".next";
  fs::remove(latest);
  fs::create_symlink("step_00000007", latest);
  const auto [leads_to, newest] = GENERATE(table<std::string, std::string>({{"step_00000008", "step_00000008"},
                                                                            {"step_00000009", "step_00000007"},
                                                                            {"../step_00000008", "step_00000007"},
                                                                            {"none", "step_00000007"}}));
  CAPTURE(leads_to);
  if (leads_to != "none") fs::create_symlink(leads_to, next);
  CHECK_FALSE(broken_latest(folder.path()));
  CHECK(latest_checkpoint(folder.path()) == folder / newest);
  settle_latest(folder.path());
  CHECK(fs::read_symlink(latest) == newest);
  CHECK_FALSE(fs::is_symlink(next));
}

TEST_CASE("the checkpoint just written stays, whatever higher steps are left over", "[trainer][checkpoint]") {
  const test::TemporaryFolder folder;
  test::Trained trained(1);
  Writer writer(folder.path(), {.keep = 1});
  for (const std::int64_t step : {40, 50, 35}) {
    writer.save(trained, {.step = step, .position = "{}"});
    writer.wait();
  }
  CHECK(read_state(*latest_checkpoint(folder.path())).step == 35);
}

TEST_CASE(
    "a resume takes back the checkpoints after it with a line for each, and finds the newest where latest is missing",
    "[trainer][checkpoint]") {
  const test::TemporaryFolder home;
  const RunFolder run(home / "run");
  test::Trained trained(1);
  const std::string folder = run.checkpoints(), latest = folder + "/latest";
  Writer writer(folder, {.keep = 0});
  for (const std::int64_t step : {1, 2, 3}) writer.save(trained, {.step = step, .position = "{}"});
  writer.wait();
  fs::remove(latest);
  CHECK(read_state(*latest_checkpoint(folder)).step == 3);

  // As a copy has it that follows links: nothing could take its place.
  fs::copy(folder + "/step_00000003", latest);
  CHECK(read_state(*latest_checkpoint(folder)).step == 3);
  std::vector<std::string> said;
  clear_the_way(run, {.checkpoint = folder + "/step_00000001", .state = {.step = 1}},
                [&](const std::string& line) { said.push_back(line); });
  CHECK(test::names_in(folder) == std::set<std::string>{"step_00000001", "latest.copy"});
  CHECK(fs::exists(latest + ".copy/state.json"));
  REQUIRE(said.size() == 3);
  CHECK_THAT(said[0], Catch::StartsWith(latest + ": is a folder and no link"));
  CHECK_THAT(said[1], Catch::StartsWith(folder + "/step_00000002: taken back"));
  CHECK_THAT(said[2], Catch::StartsWith(folder + "/step_00000003: taken back"));
  writer.save(trained, {.step = 2, .position = "{}"});
  writer.wait();
  CHECK(fs::is_symlink(latest));
}

TEST_CASE("what a user can do is in the line of a latest that leads elsewhere, and of a folder that cannot be made",
          "[trainer][checkpoint]") {
  const test::TemporaryFolder folder;
  test::Trained trained(1);
  Writer writer(folder.path());
  writer.save(trained);
  writer.wait();
  fs::remove(folder / "latest");
  fs::create_symlink(folder / "step_00000007", folder / "latest");
  CHECK_THROWS_WITH(latest_checkpoint(folder.path()),
                    Catch::Contains("points to " + folder / "step_00000007" + ", not by its name") &&
                        !Catch::Contains("no checkpoint"));
  Writer nowhere("/proc/checkpoints");
  nowhere.save(trained);
  CHECK_THROWS_WITH(nowhere.wait(), Catch::StartsWith("/proc/checkpoints") && Catch::Contains("; check the path"));
}

TEST_CASE("a damaged or foreign checkpoint is refused with its file's name", "[trainer][checkpoint]") {
  const test::TemporaryFolder folder;
  test::Trained trained(1);
  Writer writer(folder.path());
  writer.save(trained);
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
    CHECK_THROWS_WITH(load_slices(other.stream, checkpoint, weight_slices(other.model.params())),
                      Catch::Contains("another model") && Catch::Contains("gate_proj"));
  }
  SECTION("a layer more") {
    ModelConfig config = test::small_model();
    config.n_layers = 2;
    test::Trained other(1, config);
    CHECK_THROWS_WITH(load_slices(other.stream, checkpoint, weight_slices(other.model.params())),
                      Catch::Contains("another model") && Catch::Contains("layers.1"));
  }
  SECTION("state.json cut short") {
    fs::resize_file(checkpoint + "/state.json", 20);
    CHECK_THROWS_AS(read_state(checkpoint), DataError);
  }
  SECTION("numbers of no run in a state.json without a checksum, as older ones are") {
    const auto [key, value] = GENERATE(table<std::string, std::int64_t>({
        {"step", -1},
        {"step", std::numeric_limits<std::int64_t>::max()},
        {"tokens", -5},
        {"tokens", std::numeric_limits<std::int64_t>::max()},
        {"skipped", std::int64_t{1} << 50},
    }));
    auto json = nlohmann::json::parse(read_file(checkpoint + "/state.json"));
    json.erase("state_crc32c");
    json[key] = value;
    write_atomically(checkpoint + "/state.json", json.dump());
    CHECK_THROWS_AS(read_state(checkpoint), DamageError);
    CHECK_THROWS_WITH(read_state(checkpoint), Catch::Contains(fmt::format("state.json: damaged: {} {}", key, value)));
  }
  SECTION("latest points nowhere") {
    fs::remove_all(checkpoint);
    CHECK_THROWS_WITH(latest_checkpoint(folder.path()), Catch::Contains("latest"));
  }
}

TEST_CASE("what cannot be read is not taken for damage, and of damage no exception's name is told",
          "[trainer][checkpoint]") {
  const test::TemporaryFolder home;
  const RunFolder run(home / "run");
  run.make();
  test::Trained trained(1);
  {
    Writer writer(run.checkpoints());
    for (const std::int64_t step : {6, 7})
      writer.save(trained,
                  {.step = step,
                   .config = "",
                   .position = fmt::format(R"({{"step":{},"fingerprint":{{}},"lanes":{{"rows":[]}}}})", step)});
    writer.wait();
  }
  const std::string checkpoint = *latest_checkpoint(run.checkpoints()), state = checkpoint + "/state.json",
                    tensors = checkpoint + "/rank_0000.h5";
  const auto point = [&] { return newest_resume_point(run, Writer::one()); };
  SECTION("a place that the data does not have") {
    const auto go_to = [](const Position& position) {
      if (position.step == 7) throw DamagedPosition("no such place");
    };
    const auto found = newest_resume_point(run, Writer::one(), std::numeric_limits<std::int64_t>::max(), go_to);
    REQUIRE(found);
    CHECK(found->state.step == 6);
    REQUIRE(found->passed_over.size() == 1);
    CHECK(found->passed_over[0].checkpoint == checkpoint);
    CHECK(found->passed_over[0].problem == state + ": no such place");
  }
  SECTION("a loop of links, a folder") {
    const std::string file = GENERATE_COPY(state, tensors);
    fs::remove(file);
    SECTION("loop") { fs::create_symlink(fs::path(file).filename(), file); }
    SECTION("folder") { fs::create_directory(file); }
    CHECK_THROWS_WITH(point(), Catch::StartsWith(file + ": cannot be"));
  }
  SECTION("damage") {
    std::string says = "checksum";
    SECTION("of tensors") { fs::resize_file(tensors, fs::file_size(tensors) - 1); }
    SECTION("of state.json") {
      fs::resize_file(state, 20);
      says = "not a checkpoint's state: parse error";
    }
    SECTION("no tensors") {
      fs::remove(tensors);
      says = "incomplete";
    }
    CHECK_THROWS_AS(read_state(checkpoint), DamageError);
    const auto found = point();
    REQUIRE(found);
    CHECK(found->state.step == 6);
    REQUIRE(found->passed_over.size() == 1);
    CHECK(found->passed_over[0].checkpoint == checkpoint);
    CHECK_THAT(found->passed_over[0].problem,
               Catch::Contains(says) && !Catch::Contains("json.exception") && !Catch::Contains("use an older"));
    fs::remove(found->checkpoint + "/rank_0000.h5");
    CHECK_THROWS_WITH(point(), Catch::StartsWith(run.checkpoints() + ": none of 2 damaged checkpoints can be used") &&
                                   Catch::Contains(says) && !Catch::Contains("use an older"));
  }
}

TEST_CASE("a latest that was made after a kill is gone by, and one that leads elsewhere has nothing renamed",
          "[trainer][checkpoint]") {
  const test::TemporaryFolder folder;
  const std::string latest = folder / "latest", next = latest + ".next";
  test::Trained trained(1);
  for (const std::int64_t step : {6, 7}) {
    Writer writer(folder.path());
    writer.save(trained, {.step = step, .config = "", .position = "{}"});
    writer.wait();
  }
  fs::remove(latest);
  fs::create_symlink("step_00000007", next);
  std::this_thread::sleep_for(std::chrono::milliseconds(20));  // file systems' clocks are coarse
  SECTION("made after it") {
    fs::create_symlink("step_00000006", latest);
    CHECK(latest_checkpoint(folder.path()) == folder / "step_00000006");
    settle_latest(folder.path());
    CHECK_FALSE(fs::is_symlink(next));
  }
  SECTION("leads elsewhere") {
    fs::rename(next, next + "r");
    fs::create_directory(folder / "other");
    fs::create_symlink("other", latest);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    fs::create_symlink("step_00000007", next);
    CHECK(latest_checkpoint(folder.path()) == folder / "step_00000007");
    CHECK_FALSE(broken_latest(folder.path()));
  }
}

TEST_CASE("what is set aside leaves what was set aside before", "[trainer][checkpoint]") {
  const test::TemporaryFolder folder;
  const std::string checkpoint = folder / "step_00000007";
  for (const char* name : {"step_00000007.damaged", "step_00000007.damaged.2", "step_00000007.damaged.3"}) {
    fs::create_directory(checkpoint);
    std::ofstream(checkpoint + "/" + name);
    CHECK(set_aside(checkpoint) == folder / name);
    CHECK(fs::exists(folder / name + "/" + name));
  }
  CHECK(whole_checkpoints(folder.path()).empty());
}

TEST_CASE("what cannot be listed or looked at is not taken for no checkpoint", "[trainer][checkpoint]") {
  const test::TemporaryFolder folder;
  const std::string checkpoints = folder / "checkpoints", state = checkpoints + "/step_00000007/state.json";
  const auto check = [&](const std::string& named, const std::string& why) {
    CHECK_THROWS_WITH(whole_checkpoints(checkpoints), Catch::StartsWith(named) && Catch::Contains(why));
    CHECK_THROWS_WITH(latest_checkpoint(checkpoints), Catch::StartsWith(named) && Catch::Contains(why));
  };
  SECTION("a loop of links") {
    fs::create_symlink("checkpoints", checkpoints);
    check(checkpoints, "links");
  }
  SECTION("a link to a disk that is not there") {
    fs::create_symlink(folder / "disk", checkpoints);
    check(checkpoints, "a link to " + folder / "disk");
  }
  SECTION("a state.json that cannot be looked at") {
    fs::create_directories(fs::path(state).parent_path());
    fs::create_symlink("state.json", state);
    check(state, "links");
  }
  SECTION("no descriptor is left to list with") {
    fs::create_directories(fs::path(state).parent_path());
    std::ofstream(state) << "{}";
    rlimit before{};
    REQUIRE(getrlimit(RLIMIT_NOFILE, &before) == 0);
    const rlimit none{.rlim_cur = 0, .rlim_max = before.rlim_max};
    REQUIRE(setrlimit(RLIMIT_NOFILE, &none) == 0);
    std::string said;
    try {
      whole_checkpoints(checkpoints);
    } catch (const DataError& error) {
      said = error.what();
    }
    REQUIRE(setrlimit(RLIMIT_NOFILE, &before) == 0);
    CHECK_THAT(said, Catch::StartsWith(checkpoints + ": cannot be listed") && Catch::Contains("open files"));
  }
}

TEST_CASE("a folder without checkpoints has none", "[trainer][checkpoint]") {
  const test::TemporaryFolder folder;
  CHECK_FALSE(latest_checkpoint(folder.path()));
  CHECK_THROWS_AS(find_checkpoint(folder.path()), DataError);
}

TEST_CASE("a checkpoint takes the host memory that is planned for it, and the next one no more",
          "[trainer][checkpoint][memory]") {
  const Stream stream = Stream::cpu(1);
  std::vector<StateSlice> slices;
  for (const char* group : {"weights/", "m/", "v/"}) {
    const Tensor values = stream.zeros({5'000'000}, DType::kF32);
    std::iota(values.span<float>().begin(), values.span<float>().end(), 0.0f);
    slices.push_back({group, "x", {2'500, 2'000}, 0, values});
  }
  const std::int64_t planned = checkpoint_bytes(slices), little = planned / 4;  // a sanitizer takes an eighth
  CHECK(planned == 60'000'000);
  const auto growth = [&](auto&& f) {
    const std::int64_t before = memory("VmRSS");
    std::ofstream("/proc/self/clear_refs") << 5;  // forget the highest
    f();
    return memory("VmHWM") - before;
  };
  if (growth([] {}) > little) {
    WARN("skipped: /proc/self/clear_refs does not work here");
    return;
  }
  const test::TemporaryFolder folder;
  Writer writer(folder.path());
  const auto save = [&] {
    static_cast<CheckpointWriter&>(writer).save(stream, slices, kState);
    writer.wait();
  };
  const std::int64_t first = growth(save), second = growth(save);
  CHECK(first > planned - little);
  CHECK(first < planned + little);
  CHECK(second < little);
  for (const StateSlice& slice : slices) stream.clear(slice.values);
  CHECK(growth([&] { load_slices(stream, *latest_checkpoint(folder.path()), slices); }) < planned / 2);  // by pieces
  for (const StateSlice& slice : slices) {
    const std::span values = slice.values.span<float>();
    bool counts = true;
    for (std::size_t i = 0; i < values.size(); ++i) counts = counts && values[i] == static_cast<float>(i);
    CHECK(counts);
  }
}

TEST_CASE("a checkpoint that cannot be written is an error at the next save, and leaves nothing",
          "[trainer][checkpoint]") {
  const test::TemporaryFolder folder;
  test::Trained trained(1);
  const std::string file = folder / "not_a_folder";
  std::ofstream(file) << "x";
  {
    Writer writer(file);
    writer.save(trained);
    CHECK_THROWS_AS(writer.wait(), DataError);
  }
  Writer writer(file);
  writer.save(trained);
  std::optional<std::string> problem;
  while (!problem) {  // the loop asks after every step
    writer.advance();
    problem = writer.problem();
  }
  CHECK_THAT(*problem, Catch::Contains(file));
  writer.wait();  // it is told once
}

}  // namespace spikesink
