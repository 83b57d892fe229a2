#pragma once
#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace spikesink {

/// What a GPU's maker states, and the memory that CUDA reports of it.
struct KnownGpu {
  std::string_view key;   ///< how `plan --gpu` names it
  std::string_view part;  ///< of CUDA's name
  double bf16_flops;      ///< a second, dense
  double memory_rate;     ///< bytes a second
  double link_rate;       ///< bytes a second, each way, to the other GPUs of a node: NVLink, else PCIe
  std::int64_t total_bytes;
};

constexpr std::int64_t gib(double n) { return static_cast<std::int64_t>(n * 1073741824.0); }

/// A name that is part of another comes after it.
inline constexpr std::array kKnownGpus = {
    KnownGpu{"h100-pcie", "H100 PCIe", 756e12, 2.0e12, 64e9, gib(79.1)},
    KnownGpu{"h100-nvl", "H100 NVL", 835e12, 3.9e12, 64e9, gib(93.0)},
    KnownGpu{"gh200", "GH200", 989e12, 4.0e12, 450e9, gib(94.5)},
    KnownGpu{"h100", "H100", 989e12, 3.35e12, 450e9, gib(79.1)},
    KnownGpu{"h200", "H200", 989e12, 4.8e12, 450e9, gib(139.7)},
    KnownGpu{"a100", "A100", 312e12, 2.0e12, 300e9, gib(79.1)},
    KnownGpu{"a800", "A800", 312e12, 2.0e12, 200e9, gib(79.1)},
    KnownGpu{"b200", "B200", 2250e12, 8.0e12, 900e9, gib(178.3)},
};

/// By CUDA's name of it, e.g. "NVIDIA H100 80GB HBM3".
constexpr std::optional<KnownGpu> known_gpu(std::string_view cuda_name) {
  for (const KnownGpu& gpu : kKnownGpus)
    if (cuda_name.find(gpu.part) != std::string_view::npos) return gpu;
  return std::nullopt;
}
/// By its key, in capitals or not.
constexpr std::optional<KnownGpu> gpu_of_key(std::string_view key) {
  const auto same = [](char a, char b) { return a == (b >= 'A' && b <= 'Z' ? b - 'A' + 'a' : b); };
  for (const KnownGpu& gpu : kKnownGpus)
    if (std::ranges::equal(gpu.key, key, same)) return gpu;
  return std::nullopt;
}

}  // namespace spikesink
