#include "io/tensorboard.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <optional>
#include <vector>

#include "io/atomic_file.h"
#include "io/checksum.h"

namespace spikesink {
namespace fs = std::filesystem;
namespace {
static_assert(std::endian::native == std::endian::little, "numbers are stored as they are in memory");

constexpr std::string_view kNamePart = "tfevents";  // by which TensorBoard knows the files

/// Fields are keyed by number << 3 | wire type. Source: protobuf.dev/programming-guides/encoding.
enum Wire : std::uint64_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };
constexpr std::uint64_t key(std::uint64_t field, Wire wire) { return field << 3 | wire; }

// Event
constexpr std::uint64_t kWallTime = key(1, kFixed64), kStep = key(2, kVarint), kFileVersion = key(3, kBytes),
                        kSummary = key(5, kBytes);
// Summary, and Summary.Value
constexpr std::uint64_t kValue = key(1, kBytes), kTag = key(1, kBytes), kSimpleValue = key(2, kFixed32);

void put(std::string& to, const auto& number) { to.append(reinterpret_cast<const char*>(&number), sizeof number); }
void put_varint(std::string& to, std::uint64_t number) {
  for (; number >= 0x80; number >>= 7) to += static_cast<char>(number | 0x80);
  to += static_cast<char>(number);
}
void put_bytes(std::string& to, std::uint64_t field_key, std::string_view bytes) {
  put_varint(to, field_key);
  put_varint(to, bytes.size());
  to += bytes;
}

std::uint32_t masked_crc(std::string_view bytes) {
  return std::rotr(crc32c(std::as_bytes(std::span(bytes))), 15) + 0xA282EAD8u;
}

void put_record(std::string& to, std::string_view data) {
  std::string length;
  put(length, std::uint64_t{data.size()});
  to += length;
  put(to, masked_crc(length));
  to += data;
  put(to, masked_crc(data));
}

/// An Event without contents.
std::string event_now() {
  std::string event;
  put_varint(event, kWallTime);
  put(event, std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count());
  return event;
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

struct Event {
  std::int64_t step = 0;
  bool opens_file = false;
};

/// Reads what is wanted of an Event and skips the rest; nothing if it is not one.
std::optional<Event> parse_event(std::string_view data) {
  Event event;
  while (!data.empty()) {
    const auto field = take_varint(data);
    if (!field) return std::nullopt;
    std::optional<std::uint64_t> number;
    switch (*field & 7) {
      case kVarint:
        number = take_varint(data);
        break;
      case kFixed64:
        number = take<std::uint64_t>(data);
        break;
      case kFixed32:
        number = take<std::uint32_t>(data);
        break;
      case kBytes:
        if (number = take_varint(data); number && *number <= data.size())
          data.remove_prefix(*number);
        else
          return std::nullopt;
        break;
      default:
        return std::nullopt;
    }
    if (!number) return std::nullopt;
    if (*field == kStep) event.step = static_cast<std::int64_t>(*number);
    if (*field == kFileVersion) event.opens_file = true;
  }
  return event;
}

struct Kept {
  std::string records;
  bool any = false;  ///< an event beside the one that opens the file
};

Kept events_until(std::string_view file, std::int64_t step) {
  Kept kept;
  while (!file.empty()) {
    const std::string_view begin = file;
    const auto length = take<std::uint64_t>(file);
    const auto length_crc = take<std::uint32_t>(file);
    if (!length_crc || *length_crc != masked_crc(begin.substr(0, sizeof *length)) || *length > file.size()) break;
    const std::string_view data = file.substr(0, *length);
    file.remove_prefix(*length);
    const auto data_crc = take<std::uint32_t>(file);
    if (!data_crc) break;
    const auto event = parse_event(data);
    if (*data_crc != masked_crc(data) || !event || (!event->opens_file && event->step > step)) continue;
    kept.records += begin.substr(0, begin.size() - file.size());
    kept.any |= !event->opens_file;
  }
  return kept;
}

std::string host_name() {
  std::array<char, 256> name{};
  return gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "localhost";
}

/// A new file; TensorBoard reads those of a folder in the order of their names.
FileDescriptor make_event_file(const std::string& folder) {
  std::error_code error;
  if (fs::create_directories(folder, error); error) throw file_error(folder, "made", error.value());
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(now).count();
  for (int n = 0;; ++n) {
    const std::string path =
        fmt::format("{}/events.out.{}.{:010}.{}.{}.{:03}", folder, kNamePart, seconds, host_name(), getpid(), n);
    if (!fs::exists(path)) return FileDescriptor::open(path, O_WRONLY | O_APPEND | O_CREAT | O_EXCL);
  }
}

}  // namespace

EventFile::EventFile(const std::string& folder) : file_(make_event_file(folder)) {
  std::string event = event_now();
  put_bytes(event, kFileVersion, "brain.Event:2");
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
  put_bytes(one, kTag, tag);
  put_varint(one, kSimpleValue);
  put(one, static_cast<float>(value));
  std::string summary;
  put_bytes(summary, kValue, one);
  std::string event = event_now();
  put_varint(event, kStep);
  put_varint(event, static_cast<std::uint64_t>(step));
  put_bytes(event, kSummary, summary);
  put_record(pending_, event);
}

void EventFile::flush() {
  if (pending_.empty()) return;
  file_.append(pending_);
  pending_.clear();
}

void cut_back_events(const std::string& folder, std::int64_t step) {
  std::error_code error;
  std::vector<std::string> files;
  for (const auto& entry : fs::directory_iterator(folder, error))
    if (entry.is_regular_file() && entry.path().filename().string().find(kNamePart) != std::string::npos)
      files.push_back(entry.path().string());
  if (error) throw file_error(folder, "read", error.value());
  for (const std::string& path : files) {
    const std::string file = read_file(path);
    const Kept kept = events_until(file, step);
    if (!kept.any) {
      if (unlink(path.c_str()) != 0) throw file_error(path, "removed", errno);
    } else if (kept.records != file) {
      write_atomically(path, kept.records);
    }
  }
}

}  // namespace spikesink
