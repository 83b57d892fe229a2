#include "tests/fuzz/target.h"

#include <filesystem>
#include <fstream>

#include "io/failure.h"
#include "kernels/core/check.h"
#include "tests/data/support.h"

namespace spikesink::fuzz {
namespace fs = std::filesystem;
namespace {

std::vector<Target>& registered() {
  static std::vector<Target> all;
  return all;
}

}  // namespace

void attempt(const std::function<void()>& f) {
  try {
    f();
  } catch (const Failure& failure) {
    const std::string_view message = failure.what();
    require(!message.empty() && message.find('\n') == message.npos, "a message is not one line: ", message);
  }
}

void run(const Target& target, std::string_view input) {
  attempt([&] { target.read(input); });
}

const std::vector<Target>& targets() {
  std::ranges::sort(registered(), {}, &Target::name);
  return registered();
}

Registration::Registration(const Target& target) { registered().push_back(target); }

std::string scratch(const std::string& name) {
  static const test::Scratch folder;
  return folder / name;
}

std::string write_scratch(const std::string& name, std::string_view bytes) {
  std::string path = scratch(name);
  fs::create_directories(fs::path(path).parent_path());
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  require(static_cast<bool>(file.flush()), "cannot write ", path);
  return path;
}

std::string_view take_until(std::string_view& input, char separator) {
  const std::size_t end = std::min(input.find(separator), input.size());
  const std::string_view part = input.substr(0, end);
  input.remove_prefix(std::min(end + 1, input.size()));
  return part;
}

}  // namespace spikesink::fuzz
