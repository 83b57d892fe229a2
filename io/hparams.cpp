#include "io/hparams.h"

#include <algorithm>

#include "io/clock.h"
#include "io/protobuf.h"

namespace spikesink {
namespace {

constexpr std::string_view kPlugin = "hparams";
constexpr std::string_view kSessionTags = "_hparams_/session_";
constexpr std::string_view kStartTag = "_hparams_/session_start_info", kEndTag = "_hparams_/session_end_info",
                           kExperimentTag = "_hparams_/experiment";

// Fields of the messages, by their numbers in the .proto files.
namespace plugin_data {
constexpr std::uint64_t kExperiment = 2, kSessionStart = 3, kSessionEnd = 4;
}
namespace session_start {
constexpr std::uint64_t kHparams = 1, kStartTime = 5;
}
namespace session_end {
constexpr std::uint64_t kStatus = 1, kEndTime = 2, kSuccess = 1, kFailure = 2;
}
namespace map_entry {
constexpr std::uint64_t kKey = 1, kValue = 2;
}
namespace value {  // google.protobuf.Value
constexpr std::uint64_t kNumber = 2, kString = 3, kBool = 4;
}
namespace list_value {  // google.protobuf.ListValue
constexpr std::uint64_t kValues = 1;
}
namespace experiment {
constexpr std::uint64_t kTimeCreated = 3, kHparamInfos = 4, kMetricInfos = 5;
}
namespace hparam_info {
constexpr std::uint64_t kName = 1, kType = 4, kDomain = 5, kDiffers = 7, kStringType = 1, kBoolType = 2,
                        kNumberType = 3;
}
namespace metric_info {
constexpr std::uint64_t kName = 1, kTitle = 3, kDataset = 5, kTraining = 1, kValidation = 2;
}
namespace metric_name {
constexpr std::uint64_t kTag = 2;
}

std::string message_of(const HyperparameterValue& of) {
  std::string message;
  if (const auto* number = std::get_if<double>(&of))
    put_double(message, value::kNumber, *number);
  else if (const auto* flag = std::get_if<bool>(&of))
    put_integer(message, value::kBool, *flag ? 1 : 0);
  else
    put_bytes(message, value::kString, std::get<std::string>(of));
  return message;
}

/// Its type, where all values have one; else that of text.
std::uint64_t column_type(const HyperparameterColumn& column) {
  const auto all = [&]<class T>(T) {
    return std::ranges::all_of(column.values, [](const auto& v) { return std::holds_alternative<T>(v); });
  };
  return all(double{}) ? hparam_info::kNumberType : all(bool{}) ? hparam_info::kBoolType : hparam_info::kStringType;
}

std::string message_of(const HyperparameterColumn& column) {
  std::string domain, info;
  for (const HyperparameterValue& one : column.values) put_bytes(domain, list_value::kValues, message_of(one));
  put_bytes(info, hparam_info::kName, column.name);
  put_integer(info, hparam_info::kType, column_type(column));
  put_bytes(info, hparam_info::kDomain, domain);
  put_integer(info, hparam_info::kDiffers, 1);
  return info;
}

std::string message_of(const MetricColumn& metric) {
  std::string name, info;
  put_bytes(name, metric_name::kTag, metric.tag);
  put_bytes(info, metric_info::kName, name);
  put_bytes(info, metric_info::kTitle, metric.title);
  put_integer(info, metric_info::kDataset, metric.held_out ? metric_info::kValidation : metric_info::kTraining);
  return info;
}

/// HParamsPluginData of version 0, which is the default and so is not written.
void write(EventFile& events, std::string_view tag, std::uint64_t field, const std::string& message) {
  std::string data;
  put_bytes(data, field, message);
  events.plugin(tag, kPlugin, data);
}

}  // namespace

void write_session_start(EventFile& events, const Hyperparameters& hyperparameters) {
  std::string session;
  for (const auto& [name, of] : hyperparameters) {
    std::string entry;
    put_bytes(entry, map_entry::kKey, name);
    put_bytes(entry, map_entry::kValue, message_of(of));
    put_bytes(session, session_start::kHparams, entry);
  }
  put_double(session, session_start::kStartTime, unix_time());
  write(events, kStartTag, plugin_data::kSessionStart, session);
}

void write_session_end(EventFile& events, SessionEnd end) {
  std::string session;
  put_integer(session, session_end::kStatus, end == SessionEnd::kDone ? session_end::kSuccess : session_end::kFailure);
  put_double(session, session_end::kEndTime, unix_time());
  write(events, kEndTag, plugin_data::kSessionEnd, session);
}

void drop_sessions(const std::string& folder) { drop_events(folder, kSessionTags); }

void write_experiment(const std::string& folder, const std::vector<HyperparameterColumn>& hyperparameters,
                      const std::vector<MetricColumn>& metrics) {
  drop_events(folder, "");
  if (hyperparameters.empty()) return;
  std::string message;
  put_double(message, experiment::kTimeCreated, unix_time());
  for (const auto& column : hyperparameters) put_bytes(message, experiment::kHparamInfos, message_of(column));
  for (const auto& metric : metrics) put_bytes(message, experiment::kMetricInfos, message_of(metric));
  EventFile events(folder);
  write(events, kExperimentTag, plugin_data::kExperiment, message);
  events.flush();
}

}  // namespace spikesink
