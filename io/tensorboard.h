#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "io/file_descriptor.h"

namespace spikesink {

/// An event file that TensorBoard reads. Each object makes a new file in the folder (made if need be); TensorBoard
/// shows all files of a folder as one run. DataError if it cannot be made or written, e.g. on a full disk; the file
/// then ends with the last whole flush.
///
/// Format: TFRecord framing (length, masked CRC-32C of it, data, masked CRC-32C of it) around Event messages.
/// Source: tensorflow/core/lib/io/record_writer.h, tensorflow/core/util/event.proto, framework/summary.proto.
class EventFile {
 public:
  explicit EventFile(const std::string& folder);
  EventFile(EventFile&&) = delete;
  ~EventFile();  ///< flushes, and is silent if that fails

  /// `value` at `step`, now. Stored as 32-bit float: TensorBoard has no other. Kept in memory until flush().
  void scalar(std::string_view tag, double value, std::int64_t step);
  /// A message of one of TensorBoard's plugins under `tag`, in the description of a value that holds nothing.
  void plugin(std::string_view tag, std::string_view plugin, std::string_view content);
  /// Everything so far, with one write(2).
  void flush();

 private:
  FileDescriptor file_;
  std::string pending_;
};

/// What is left of an event file that is cut back: it was read, and is not written yet.
struct EventFileCut {
  std::string path;
  std::string records;      ///< its new contents; empty: it goes
  std::string file;         ///< the old ones, if some of it is damaged
  std::size_t damaged = 0;  ///< bytes

  /// Writes or removes it. A line if it was damaged, else empty.
  std::string make() const;
};
/// The reading half of cut_back_events(): the files that change.
std::vector<EventFileCut> read_events_cut(const std::string& folder, std::int64_t step,
                                          std::string_view tag_prefix = {});

/// Takes all events after `step` out of the event files of a folder, and those of `step` itself whose tag begins with
/// `tag_prefix` if that is not empty, atomically file by file; removes a file with none left, and drops what a crash
/// tore at the end of a file. What else is no record, or no event, is damaged: it is left out, up to the next record
/// whose checksums are right, after a copy of the whole file was put beside it, under a name that TensorBoard does not
/// read. A line for each such file is returned. Other files stay.
std::vector<std::string> cut_back_events(const std::string& folder, std::int64_t step,
                                         std::string_view tag_prefix = {});
/// Takes the events whose tag begins so out of the event files of a folder, in the same way.
std::vector<std::string> drop_events(const std::string& folder, std::string_view tag_prefix);

}  // namespace spikesink
