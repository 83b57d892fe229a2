#pragma once
#include <concepts>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "io/bf16.h"

namespace spikesink {

/// What a dataset holds; stored little-endian. bf16 is a float type of the file's own, which other readers widen to
/// f32.
template <class T>
concept H5Number = std::same_as<T, float> || std::same_as<T, double> || std::same_as<T, bf16> ||
    std::same_as<T, std::uint16_t> || std::same_as<T, std::int32_t> || std::same_as<T, std::int64_t>;

/// Where a dataset lies in its file, for who reads it without HDF5.
struct H5Place {
  std::int64_t offset = 0;  ///< of its first byte; elements follow one another, little-endian
  std::int64_t count = 0;   ///< elements
};

/// An HDF5 file of arrays and attributes. Names are paths in it: "group/sub/array". Arrays are contiguous and without
/// time stamps: equal calls give equal bytes. All that goes wrong with a file (missing, truncated, another format, a
/// full disk, a dataset that is not there) throws DataError, one line naming file, dataset, HDF5's or the system's
/// reason, and the mend. Several files may be used on several threads, each on one at a time.
class H5File {
 public:
  /// A new file, in place of one that is there.
  static H5File create(const std::string& path);
  /// To read only.
  static H5File open(const std::string& path);

  H5File(H5File&&) noexcept;
  H5File& operator=(H5File&&) noexcept;
  /// Closes, and is silent if that fails: writers call close().
  ~H5File();

  /// A new dataset of shape `dims`, row-major; makes the groups on its way. No dims: a scalar.
  template <H5Number T>
  void write(const std::string& name, std::span<const T> data, const std::vector<std::int64_t>& dims);

  /// The same without its values, which write_stretch() brings: what it does not write is 0.
  template <H5Number T>
  void make(const std::string& name, std::int64_t count);
  /// `data` as the elements of a one-dimensional dataset from `first` on.
  template <H5Number T>
  void write_stretch(const std::string& name, std::int64_t first, std::span<const T> data);

  /// A dataset of `from`, or a group with all that is in it, under the same name, with its attributes.
  void copy(const H5File& from, const std::string& name);

  /// Whether there is a dataset or group of this name.
  bool exists(const std::string& name) const;
  /// Names in a group, sorted. "" or "/" is the root.
  std::vector<std::string> children(const std::string& group) const;
  std::vector<std::int64_t> dims(const std::string& name) const;
  /// A whole dataset, converted from the number type that the file has. `to` must have its size.
  template <H5Number T>
  void read_into(const std::string& name, std::span<T> to) const;
  template <H5Number T>
  std::vector<T> read(const std::string& name) const;
  /// `to.size()` elements of a dataset, from element `first` of its row-major order on; nothing else is read.
  template <H5Number T>
  void read_stretch(const std::string& name, std::int64_t first, std::span<T> to) const;
  /// Where the elements of a one-dimensional dataset lie. DataError if they are no T's, little-endian and contiguous.
  template <H5Number T>
  H5Place place_of(const std::string& name) const;

  /// A new attribute of `object`: a dataset, a group, or "" or "/" for the file.
  void attribute(const std::string& object, const std::string& key, const std::string& value);
  void attribute(const std::string& object, const std::string& key, double value);
  void attribute(const std::string& object, const std::string& key, std::int64_t value);
  /// A list, not empty.
  void attribute(const std::string& object, const std::string& key, std::span<const std::int64_t> values);
  bool has_attribute(const std::string& object, const std::string& key) const;
  std::string text_attribute(const std::string& object, const std::string& key) const;
  /// Converted from the number type that the file has.
  template <H5Number T>
  T number_attribute(const std::string& object, const std::string& key) const;
  std::vector<std::int64_t> list_attribute(const std::string& object, const std::string& key) const;

  /// Writes what is pending and closes. The file may be on its way to the disk: see commit_file().
  void close();

 private:
  struct State;
  explicit H5File(std::unique_ptr<State> state);

  std::unique_ptr<State> state_;
};

}  // namespace spikesink
