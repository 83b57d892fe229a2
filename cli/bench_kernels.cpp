#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/bench.h"
#include "cli/options.h"
#include "cli/session.h"
#include "configs/reader.h"
#include "io/failure.h"
#include "trainer/kernel_bench.h"

namespace spikesink::cli {
namespace {

struct KernelsOptions {
  std::string config;
  std::vector<std::string> overrides, only;
  std::string sizes = "auto";
  std::int64_t runs = 7;
  bool json = false;
};

/// Only `system:` counts.
constexpr const char* kAnyConfig = R"(
data: {train: [none]}
train: {steps: 1}
)";

BenchSizes sizes_named(const std::string& name) {
  const auto names = names_of(BenchSizes{});
  const auto found = std::ranges::find(names, name);
  if (found == names.end())
    throw UsageError(fmt::format("--sizes {}: expected one of {}", name, fmt::join(names, ", ")));
  return static_cast<BenchSizes>(found - names.begin());
}

void require_known(const std::vector<std::string>& only) {
  const auto names = timed_kernels();
  for (const std::string& part : only)
    if (std::ranges::none_of(names, [&](const std::string& name) { return name.find(part) != std::string::npos; }))
      throw UsageError(fmt::format("--only {}: no kernel of such a name; there are {}", part, fmt::join(names, ", ")));
}

void print(const MachineRates& rates, DType dtype) {
  fmt::print("{}, {}: copies move {:.4g} GB/s, a large product reaches {:.4g} TFLOP/s\n\n", rates.device,
             name_of(dtype), rates.copy_rate / 1e9, rates.matrix_rate / 1e12);
  fmt::print("{:<21}{:<30}{:<24}{:>11}{:>11} {:<8}{:>8}\n", "kernel", "", "shape", "time, us", "rate", "", "of limit");
}
void print(const KernelFigure& f, const MachineRates& rates) {
  const bool memory = f.bytes > 0;
  fmt::print("{:<21}{:<30}{:<24}{:>11.1f}{:>11.4g} {:<8}{:>7.1f} %\n", f.kernel, f.what, f.shape, 1e6 * f.seconds,
             f.rate() / (memory ? 1e9 : 1e12), memory ? "GB/s" : "TFLOP/s", 100 * f.share(rates));
}

void print_json(const MachineRates& rates, DType dtype) {
  nlohmann::ordered_json all{{"device", rates.device},
                             {"dtype", name_of(dtype)},
                             {"copy_rate", rates.copy_rate},
                             {"matrix_rate", rates.matrix_rate}};
  if (!rates.cudnn.empty()) all["cudnn_device_properties"] = rates.cudnn;
  fmt::print("{}\n", all.dump());
}
void print_json(const KernelFigure& f, const MachineRates& rates) {
  fmt::print("{}\n", nlohmann::ordered_json{{"kernel", f.kernel},
                                            {"what", f.what},
                                            {"shape", f.shape},
                                            {"seconds", f.seconds},
                                            {"seconds_min", f.seconds_min},
                                            {"seconds_max", f.seconds_max},
                                            {f.bytes > 0 ? "bytes" : "flops", f.bytes > 0 ? f.bytes : f.flops},
                                            {"rate", f.rate()},
                                            {"share", f.share(rates)}}
                         .dump());
}

void run(const KernelsOptions& options) {
  require_known(options.only);
  const BenchSizes sizes = sizes_named(options.sizes);
  const Config config = options.config.empty() ? read_config_text(kAnyConfig, "bench kernels", options.overrides)
                                               : read_config(options.config, options.overrides);
  const DType dtype = config.system.resolved_precision();
  const Stream stream = make_stream(config.system);
  MachineRates rates;
  bench_kernels(
      stream, {.dtype = dtype, .sizes = sizes, .only = options.only, .runs = options.runs},
      [&](const MachineRates& measured) {
        rates = measured;
        options.json ? print_json(rates, dtype) : print(rates, dtype);
        std::fflush(stdout);
      },
      [&](const KernelFigure& figure) {
        options.json ? print_json(figure, rates) : print(figure, rates);
        std::fflush(stdout);
      });
}

}  // namespace

void add_bench_kernels_command(CLI::App& bench) {
  CLI::App* command = bench.add_subcommand(
      "kernels", "Every kernel both ways, beside the copy rate or the matrix rate measured in the same run");
  auto options = std::make_shared<KernelsOptions>();
  command->add_option("CONFIG", options->config, "YAML file, of which `system` counts; default: the schema's");
  command->add_option("--set", options->overrides, "key=value over the config; may be repeated")
      ->allow_extra_args(false);
  command->add_option("--only", options->only, "kernels whose name has this; may be repeated")->allow_extra_args(false);
  command->add_option("--sizes", options->sizes, "auto | full (a GPU's) | cpu | tiny (only to see that all runs)")
      ->capture_default_str();
  command->add_option("--runs", options->runs, "timed runs a kernel, each of 2 ms or more; their median counts")
      ->check(at_least<1>)
      ->capture_default_str();
  command->add_flag("--json", options->json, "print one JSON object a line, the first of the machine");
  command->footer(
      "Kernels that are bound by memory: inputs read once and outputs written once, over the time, as a share of what\n"
      "a large copy moves. Kernels that multiply: FLOPs of their products over the time, as a share of a large "
      "product's\n"
      "rate; causal attention counts half of its scores, and its backward 2.5 times its forward. A share can pass 100 "
      "%\n"
      "where a cache helps. loss_sum is too small, and initialise too seldom, to matter to a run.\n\n"
      "Examples\n"
      "  spikesink bench kernels                                    on the GPU, or on the CPU in a build without CUDA\n"
      "  spikesink bench kernels --only norm --only attention --set system.precision=f32");
  command->callback([options] { run(*options); });
}

}  // namespace spikesink::cli
