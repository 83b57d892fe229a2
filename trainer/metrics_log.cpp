#include "trainer/metrics_log.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "io/json_lines.h"
#include "io/tensorboard.h"

namespace spikesink {

struct MetricsLog::Impl {
  Impl(const RunFolder& folder, const LoggingConfig& config) {
    const auto wants = [&](Logger logger) { return std::ranges::count(config.loggers, logger) > 0; };
    if (wants(Logger::kJsonl)) lines.emplace(folder.metrics());
    if (wants(Logger::kTensorboard)) events.emplace(folder.tensorboard());
  }
  void write(std::int64_t step, const Scalars& scalars, const char* event, const std::string& tag,
             const std::vector<std::pair<std::string, std::int64_t>>& identities = {}) {
    if (lines) {
      nlohmann::ordered_json line{{"step", step}};
      if (event) line["event"] = event;
      for (const auto& [name, value] : scalars) {
        if (name == "tokens")  // a count
          line[name] = static_cast<std::int64_t>(value);
        else
          line[name] = value;
      }
      for (const auto& [name, value] : identities) line[name] = value;
      lines->append(line.dump());
    }
    if (!events) return;
    for (const auto& [name, value] : scalars) events->scalar(tag + name, value, step);
    events->flush();
  }

  std::optional<JsonLines> lines;
  std::optional<EventFile> events;
};

MetricsLog::MetricsLog(const RunFolder& folder, const LoggingConfig& config)
    : impl_(std::make_unique<Impl>(folder, config)) {}
MetricsLog::~MetricsLog() = default;

void MetricsLog::step(std::int64_t step, const Scalars& scalars,
                      const std::vector<std::pair<std::string, std::int64_t>>& identities) {
  impl_->write(step, scalars, nullptr, "train/", identities);
}
void MetricsLog::probe(std::int64_t step, const Scalars& scalars) { impl_->write(step, scalars, "probe", "probe/"); }

}  // namespace spikesink
