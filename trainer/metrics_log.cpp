#include "trainer/metrics_log.h"

#include <algorithm>
#include <exception>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "io/build_info.h"
#include "io/json_lines.h"
#include "io/tensorboard.h"

namespace spikesink {

struct MetricsLog::Impl {
  Impl(const RunFolder& folder, const LoggingConfig& config, const Hyperparameters& hyperparameters) {
    const auto wants = [&](Logger logger) { return std::ranges::count(config.loggers, logger) > 0; };
    if (wants(Logger::kJsonl)) lines.emplace(folder.metrics());
    if (!wants(Logger::kTensorboard)) return;
    if (std::filesystem::exists(folder.tensorboard())) drop_sessions(folder.tensorboard());
    events.emplace(folder.tensorboard());
    write_session_start(*events, hyperparameters);
    events->flush();
  }
  void write(std::int64_t step, const Scalars& scalars, const char* event, std::string_view tags,
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
    for (const auto& [name, value] : scalars) events->scalar(std::string(tags) + name, value, step);
    events->flush();
  }

  std::optional<JsonLines> lines;
  std::optional<EventFile> events;
  int exceptions = std::uncaught_exceptions();  ///< when it was made
};

MetricsLog::MetricsLog(const RunFolder& folder, const LoggingConfig& config, const Hyperparameters& hyperparameters)
    : impl_(std::make_unique<Impl>(folder, config, hyperparameters)) {}
MetricsLog::~MetricsLog() {
  if (impl_->events && std::uncaught_exceptions() > impl_->exceptions)
    write_session_end(*impl_->events, SessionEnd::kFailed);  // the file flushes as it goes
}

void MetricsLog::step(std::int64_t step, const Scalars& scalars,
                      const std::vector<std::pair<std::string, std::int64_t>>& identities) {
  impl_->write(step, scalars, nullptr, "train/", identities);
}
void MetricsLog::probe(std::int64_t step, const Scalars& scalars) { impl_->write(step, scalars, "probe", kProbeTags); }
void MetricsLog::data(std::int64_t step, const std::string& data) {
  if (!impl_->lines) return;
  nlohmann::ordered_json line{{"step", step}, {"event", "data"}, {"program", build_info()}};
  line.update(nlohmann::ordered_json::parse(data));
  impl_->lines->append(line.dump());
}
void MetricsLog::done() {
  if (!impl_->events) return;
  write_session_end(*impl_->events, SessionEnd::kDone);
  impl_->events->flush();
}

}  // namespace spikesink
