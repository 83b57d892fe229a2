#include "io/tensorboard.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <optional>
#include <vector>

#include "io/atomic_file.h"
#include "io/checksum.h"
#include "io/clock.h"
#include "io/host_name.h"
#include "io/listing.h"
#include "io/protobuf.h"

namespace spikesink {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view kNamePart = "tfevents";  // by which TensorBoard knows the files

// Fields of Event, of Summary, of Summary.Value and of what is in these.
namespace event {
constexpr std::uint64_t kWallTime = 1, kStep = 2, kFileVersion = 3, kSummary = 5;
}
namespace summary {
constexpr std::uint64_t kValue = 1;
}
namespace value {
constexpr std::uint64_t kTag = 1, kSimpleValue = 2, kTensor = 8, kMetadata = 9;
}
namespace metadata {
constexpr std::uint64_t kPluginData = 1;
}
namespace plugin_data {
constexpr std::uint64_t kName = 1, kContent = 2;
}
namespace tensor {
constexpr std::uint64_t kDType = 1, kShape = 2, kDim = 2, kFloat = 1;
}

std::uint32_t masked_crc(std::string_view bytes) {
  return std::rotr(crc32c(std::as_bytes(std::span(bytes))), 15) + 0xA282EAD8u;
}

void put_record(std::string& to, std::string_view data) {
  std::string length;
  put_raw(length, std::uint64_t{data.size()});
  to += length;
  put_raw(to, masked_crc(length));
  to += data;
  put_raw(to, masked_crc(data));
}

/// An Event without contents.
std::string event_now() {
  std::string event;
  put_double(event, event::kWallTime, unix_time());
  return event;
}
/// A record of an Event that holds one Summary.Value. Step 0 is the default, but TensorBoard's own writers write it.
void put_event(std::string& to, std::string_view one, std::int64_t step) {
  std::string sum, event = event_now();
  put_bytes(sum, summary::kValue, one);
  put_integer(event, event::kStep, static_cast<std::uint64_t>(step));
  put_bytes(event, event::kSummary, sum);
  put_record(to, event);
}

template <class T>
std::optional<T> take(std::string_view& from) {
  if (from.size() < sizeof(T)) return std::nullopt;
  T number;
  std::memcpy(&number, from.data(), sizeof number);
  from.remove_prefix(sizeof number);
  return number;
}
std::optional<std::uint64_t> take_varint(std::string_view& from) {
  std::uint64_t number = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    const auto byte = take<std::uint8_t>(from);
    if (!byte) return std::nullopt;
    number |= std::uint64_t{*byte & 0x7Fu} << shift;
    if (*byte < 0x80) return number;
  }
  return std::nullopt;
}

/// Calls f(field, number, bytes) for every field of a message; false, perhaps in the middle, if it is none.
bool for_each_field(std::string_view message, auto&& f) {
  while (!message.empty()) {
    const auto key = take_varint(message);
    if (!key) return false;
    std::optional<std::uint64_t> number;
    std::string_view bytes;
    switch (*key & 7) {
      case kVarint:
        number = take_varint(message);
        break;
      case kFixed64:
        number = take<std::uint64_t>(message);
        break;
      case kFixed32:
        number = take<std::uint32_t>(message);
        break;
      case kBytes:
        number = take_varint(message);
        if (!number || *number > message.size()) return false;
        bytes = message.substr(0, *number);
        message.remove_prefix(*number);
        break;
      default:
        return false;
    }
    if (!number) return false;
    f(*key >> 3, *number, bytes);
  }
  return true;
}

/// What is wanted of an Event.
struct Event {
  std::int64_t step = 0;
  bool opens_file = false;
  std::string_view tag;  ///< of its last value; empty where it holds none
};

std::optional<Event> parse_event(std::string_view data) {
  Event found;
  const auto read_value = [&](std::uint64_t field, std::uint64_t, std::string_view bytes) {
    if (field == value::kTag) found.tag = bytes;
  };
  const auto read_summary = [&](std::uint64_t field, std::uint64_t, std::string_view bytes) {
    if (field == summary::kValue) for_each_field(bytes, read_value);
  };
  const bool whole = for_each_field(data, [&](std::uint64_t field, std::uint64_t number, std::string_view bytes) {
    if (field == event::kStep) found.step = static_cast<std::int64_t>(number);
    if (field == event::kFileVersion) found.opens_file = true;
    if (field == event::kSummary) for_each_field(bytes, read_summary);
  });
  return whole ? std::optional(found) : std::nullopt;
}

struct Kept {
  std::string records;
  bool any = false;         ///< an event beside the one that opens the file
  std::size_t damaged = 0;  ///< bytes that are no records, but for what a crash tore at the end
};

constexpr std::size_t kHead = sizeof(std::uint64_t) + sizeof(std::uint32_t), kFoot = sizeof(std::uint32_t);

/// Bytes of the record's data, if that much of the record's front is sound.
std::optional<std::uint64_t> data_length(std::string_view record) {
  const std::string_view begin = record;
  const auto length = take<std::uint64_t>(record);
  const auto crc = take<std::uint32_t>(record);
  return crc && *crc == masked_crc(begin.substr(0, sizeof *length)) ? length : std::nullopt;
}

/// Whether the file, which begins with a record's front, has all of the record.
bool holds_record(std::string_view file, std::uint64_t length) {
  return length <= file.size() - kHead && file.size() - kHead - length >= kFoot;
}
bool is_sound(std::string_view file, std::uint64_t length) {
  std::string_view rest = file.substr(kHead + length);
  return take<std::uint32_t>(rest) == masked_crc(file.substr(kHead, length));
}

Kept kept_events(std::string_view file, auto&& keep) {
  Kept kept;
  // A file that was made to has many a length that is right before data that is not: they are not all looked at.
  std::size_t patience = 8 * file.size();
  std::size_t lost = 0;  // bytes since the last record
  bool torn = false;     // all of them may be a record's beginning
  while (!file.empty()) {
    const auto length = data_length(file);
    const bool holds = length && holds_record(file, *length) && *length <= patience;
    if (holds && is_sound(file, *length)) {
      const std::string_view record = file.substr(0, kHead + *length + kFoot);
      const auto event = parse_event(record.substr(kHead, *length));
      file.remove_prefix(record.size());
      kept.damaged += lost + (event ? 0 : record.size());
      lost = 0;
      if (!event || (!event->opens_file && !keep(*event))) continue;
      kept.records += record;
      kept.any |= !event->opens_file;
      continue;
    }
    if (holds) patience -= *length;
    if (lost == 0) torn = length ? !holds_record(file, *length) : file.size() < kHead;
    file.remove_prefix(1);
    ++lost;
  }
  if (!torn) kept.damaged += lost;
  return kept;
}

/// Keeps a copy of a damaged event file beside it, and says where. Contents that were kept before are not kept again.
std::string keep_copy(const std::string& path, std::string_view file) {
  const std::uint32_t sum = crc32c(std::as_bytes(std::span(file)));
  std::string name = fs::path(path).filename().string();
  for (std::size_t at = name.find(kNamePart); at != std::string::npos; at = name.find(kNamePart))
    name.replace(at, kNamePart.size(), "tf_events");  // else TensorBoard would show it too
  std::string copy = (fs::path(path).parent_path() / fmt::format("{}.{:08x}.damaged", name, sum)).string();
  write_atomically(copy, file);
  return copy;
}

/// What is left of the event files of a folder by what `keep` says, of those that change.
std::vector<EventFileCut> read_cut(const std::string& folder, auto&& keep) {
  std::error_code error;
  std::vector<std::string> files;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error))
    if (const std::string path = at->path().string();
        at->path().filename().string().find(kNamePart) != std::string::npos)
      if (type_of(path) == fs::file_type::regular) files.push_back(path);
  if (error) throw file_error(folder, "read", error.value());
  std::vector<EventFileCut> cuts;
  for (const std::string& path : files) {
    std::string file = read_file(path);
    Kept kept = kept_events(file, keep);
    if (kept.damaged == 0 && kept.any && kept.records == file) continue;
    cuts.push_back({.path = path,
                    .records = kept.any ? std::move(kept.records) : "",
                    .file = kept.damaged > 0 ? std::move(file) : "",
                    .damaged = kept.damaged});
  }
  return cuts;
}

std::vector<std::string> make_all(const std::vector<EventFileCut>& cuts) {
  std::vector<std::string> notes;
  for (const EventFileCut& cut : cuts)
    if (std::string note = cut.make(); !note.empty()) notes.push_back(std::move(note));
  return notes;
}

/// A new file; TensorBoard reads those of a folder in the order of their names.
FileDescriptor make_event_file(const std::string& folder) {
  std::error_code error;
  if (fs::create_directories(folder, error); error) throw file_error(folder, "made", error.value());
  const auto seconds = static_cast<std::int64_t>(unix_time());
  for (int n = 0;; ++n) {
    const std::string path =
        fmt::format("{}/events.out.{}.{:010}.{}.{}.{:03}", folder, kNamePart, seconds, host_name(), getpid(), n);
    if (!fs::exists(path)) return FileDescriptor::open(path, O_WRONLY | O_APPEND | O_CREAT | O_EXCL);
  }
}

}  // namespace

EventFile::EventFile(const std::string& folder) : file_(make_event_file(folder)) {
  std::string event = event_now();
  put_bytes(event, event::kFileVersion, "brain.Event:2");
  put_record(pending_, event);
  flush();
}

EventFile::~EventFile() {
  try {
    flush();
  } catch (const DataError&) {
    // Whoever wants to know calls flush().
  }
}

void EventFile::scalar(std::string_view tag, double value, std::int64_t step) {
  std::string one;
  put_bytes(one, value::kTag, tag);
  put_float(one, value::kSimpleValue, static_cast<float>(value));
  put_event(pending_, one, step);
}

void EventFile::plugin(std::string_view tag, std::string_view plugin, std::string_view content) {
  std::string data, about, shape, nothing, one;
  put_bytes(data, plugin_data::kName, plugin);
  put_bytes(data, plugin_data::kContent, content);
  put_bytes(about, metadata::kPluginData, data);
  put_bytes(shape, tensor::kDim, "");  // of size 0
  put_integer(nothing, tensor::kDType, tensor::kFloat);
  put_bytes(nothing, tensor::kShape, shape);
  put_bytes(one, value::kTag, tag);
  put_bytes(one, value::kTensor, nothing);
  put_bytes(one, value::kMetadata, about);
  put_event(pending_, one, 0);
}

void EventFile::flush() {
  if (pending_.empty()) return;
  file_.append(pending_);
  pending_.clear();
}

std::string EventFileCut::make() const {
  std::string note;
  if (damaged > 0)
    note = fmt::format("{}: {} damaged bytes left out; the file as it was is kept as {}", path, damaged,
                       keep_copy(path, file));
  if (!records.empty())
    write_atomically(path, records);
  else if (unlink(path.c_str()) != 0)
    throw file_error(path, "removed", errno);
  return note;
}

std::vector<EventFileCut> read_events_cut(const std::string& folder, std::int64_t step, std::string_view tag_prefix) {
  return read_cut(folder, [&](const Event& event) {
    return event.step < step || (event.step == step && (tag_prefix.empty() || !event.tag.starts_with(tag_prefix)));
  });
}

std::vector<std::string> cut_back_events(const std::string& folder, std::int64_t step, std::string_view tag_prefix) {
  return make_all(read_events_cut(folder, step, tag_prefix));
}

std::vector<std::string> drop_events(const std::string& folder, std::string_view tag_prefix) {
  return make_all(read_cut(folder, [tag_prefix](const Event& event) { return !event.tag.starts_with(tag_prefix); }));
}

}  // namespace spikesink
