// Checkpoints: a state.json beside a sound file of rank 0 where the input begins as JSON does, else a file of hostile
// values beside a state.json that fits it.
#include "trainer/checkpoint.h"

#include <filesystem>

#include "configs/reader.h"
#include "data/position.h"
#include "io/checksum.h"
#include "kernels/core/check.h"
#include "tests/fuzz/hostile_h5.h"
#include "tests/fuzz/target.h"

namespace spikesink::fuzz {
namespace {

/// A model's tensors and slices of them, as a rank has.
struct Model {
  Stream stream = Stream::cpu(1);
  std::vector<StateSlice> slices;
  Model() {
    const auto add = [&](const char* group, const char* name, const Shape& whole, std::int64_t first, std::int64_t n,
                         DType dtype) {
      slices.push_back({group, name, whole, first, stream.zeros({n}, dtype)});
    };
    add("weights/", "embed", {6, 4}, 0, 24, DType::kF32);
    add("weights/", "norm", {4}, 0, 4, DType::kF32);
    add("m/", "embed", {6, 4}, 5, 11, DType::kF32);
    add("v/", "norm", {4}, 2, 2, DType::kF64);
  }
};

const std::vector<Expected> kDatasets{
    {"weights/embed", {6, 4}}, {"weights/norm", {4}}, {"m/embed", {6, 4}}, {"v/norm", {4}}};
const TrainingState kState{.step = 7,
                           .tokens = 448,
                           .world = 1,
                           .threads = 1,
                           .config = "run: {name: x}\n",
                           .position = R"({"step":7,"fingerprint":{},"lanes":{"rows":[[0,0,3,1,2,false]]}})"};

void use(const std::string& checkpoint) {
  static Model model;
  const TrainingState state = read_state(checkpoint);
  require(state.world >= 1, "a checkpoint of ", state.world, " ranks");
  attempt([&] { load_slices(model.stream, checkpoint, model.slices); });
  attempt([&] {
    const Position position = Position::from_json(state.position);
    require(Position::from_json(position.to_json()) == position, "a position reads as another");
  });
  read_config_text(state.config, "state.json");
}

void feed_checkpoint(std::string_view input) {
  if (input.starts_with('{')) {
    static const std::string folder = [] {
      const std::string made = scratch("sound_checkpoint");
      std::filesystem::create_directories(made);
      HostCopy copy;
      const Model model;
      copy.take(model.stream, model.slices);
      copy.write(made + "/" + rank_file(0));
      return made;
    }();
    write_scratch("sound_checkpoint/state.json", input);
    return use(folder);
  }
  const std::string folder = scratch("hostile_checkpoint");
  std::filesystem::create_directories(folder);
  Choices choices(input);
  write_hostile_h5(folder + "/" + rank_file(0), choices, kDatasets);
  write_state(folder, kState, std::vector{crc32c_of_file(folder + "/" + rank_file(0))});
  use(folder);
}

const Registration kCheckpoint{{"checkpoint", feed_checkpoint}};

}  // namespace
}  // namespace spikesink::fuzz
