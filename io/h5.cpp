#include "io/h5.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <hdf5.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <numeric>

#include "io/failure.h"
#include "io/file_descriptor.h"
#include "io/h5_boxes.h"
#include "io/h5_sink.h"

namespace spikesink {
namespace {
static_assert(std::same_as<hid_t, std::int64_t>);

/// HDF5 prints its errors unless told otherwise, on every thread anew. A file may also ask it for other files, by links
/// into them, and for code, by filters of its own: neither is had.
void quiet() {
  static const bool alone = H5Lunregister(H5L_TYPE_EXTERNAL) >= 0 && H5PLset_loading_state(0) >= 0;
  (void)alone;
  thread_local const bool off = H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr) >= 0;
  (void)off;
}

/// The innermost message of this thread's last failed call.
std::string innermost_message() {
  std::string message = "HDF5 gives no reason";
  const auto take_first = [](unsigned n, const H5E_error2_t* error, void* to) -> herr_t {
    if (n == 0) *static_cast<std::string*>(to) = error->desc;
    return 0;
  };
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, take_first, &message);
  return message;
}

/// "<path>: <what>: <reason>; <mend>". Where the system is the reason, HDF5's message has its errno amid much else.
DataError h5_error(const std::string& path, const std::string& what) {
  std::string reason = innermost_message();
  const char* mend = "the file is damaged or of another kind; name another one, or make it anew";
  constexpr std::string_view kErrno = "errno = ";
  if (const auto at = reason.find(kErrno); at != std::string::npos)
    if (const int code = std::atoi(reason.c_str() + at + kErrno.size()); code != 0) {
      reason = std::strerror(code);
      mend = mend_of(code);
    }
  return DataError(fmt::format("{}: {}: {}; {}", path, what, reason, mend));
}

/// An HDF5 identifier, closed at the end of its scope.
class Id {
 public:
  Id(hid_t id, herr_t (*close)(hid_t)) : id_(id), close_(close) {}
  Id(Id&& other) noexcept : id_(std::exchange(other.id_, -1)), close_(other.close_) {}
  ~Id() {
    if (id_ >= 0) close_(id_);
  }
  operator hid_t() const { return id_; }
  bool ok() const { return id_ >= 0; }

 private:
  hid_t id_;
  herr_t (*close_)(hid_t);
};

/// Sign, 8 bits of exponent, 7 of mantissa; lives as long as the program.
hid_t bf16_type() {
  static const hid_t type = [] {
    const hid_t t = H5Tcopy(H5T_IEEE_F32LE);
    H5Tset_fields(t, 15, 7, 8, 0, 7);
    H5Tset_size(t, 2);
    H5Tset_ebias(t, 127);
    return t;
  }();
  return type;
}

template <class T>
hid_t memory_type() {
  if constexpr (std::same_as<T, bf16>) return bf16_type();
  if constexpr (std::same_as<T, float>) return H5T_NATIVE_FLOAT;
  if constexpr (std::same_as<T, double>) return H5T_NATIVE_DOUBLE;
  if constexpr (std::same_as<T, std::uint16_t>) return H5T_NATIVE_UINT16;
  if constexpr (std::same_as<T, std::int32_t>) return H5T_NATIVE_INT32;
  if constexpr (std::same_as<T, std::int64_t>) return H5T_NATIVE_INT64;
}
template <class T>
hid_t file_type() {
  if constexpr (std::same_as<T, bf16>) return bf16_type();
  if constexpr (std::same_as<T, float>) return H5T_IEEE_F32LE;
  if constexpr (std::same_as<T, double>) return H5T_IEEE_F64LE;
  if constexpr (std::same_as<T, std::uint16_t>) return H5T_STD_U16LE;
  if constexpr (std::same_as<T, std::int32_t>) return H5T_STD_I32LE;
  if constexpr (std::same_as<T, std::int64_t>) return H5T_STD_I64LE;
}

/// Of fixed length: HDF5 keeps text of variable length where it has no checksum, and can hang on a damaged byte there.
Id text_type(std::size_t bytes) {
  Id type(H5Tcopy(H5T_C_S1), H5Tclose);
  H5Tset_size(type, std::max<std::size_t>(bytes, 1));
  H5Tset_strpad(type, H5T_STR_NULLPAD);
  H5Tset_cset(type, H5T_CSET_UTF8);
  return type;
}

const char* object_name(const std::string& name) { return name.empty() ? "/" : name.c_str(); }

std::string attribute_name(const std::string& object, const std::string& key) {
  return object.empty() || object == "/" ? "attribute " + key : object + ": attribute " + key;
}

/// Properties common to the files that we make and read.
Id file_access() {
  Id access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
  H5Pset_fclose_degree(access, H5F_CLOSE_STRONG);
  // HDF5's own locks fail on some network file systems, and nobody reads a file that is being written.
  H5Pset_file_locking(access, /*use=*/false, /*ignore_when_disabled=*/true);
  return access;
}

}  // namespace

struct H5File::State {
  std::string path;
  std::unique_ptr<H5Sink> sink;  ///< of a file that is being made
  hid_t file = -1;

  ~State() {
    if (file < 0) return;
    quiet();
    H5Fclose(file);
  }

  /// The start of every call.
  hid_t open_file() const {
    assert(file >= 0);
    quiet();
    return file;
  }
  /// After a call that failed. A full disk is told first: HDF5 stumbles over what it could not write.
  DataError error(const std::string& what) const {
    check_sink();
    return h5_error(path, what);
  }
  /// The end of every call that writes.
  void check_sink() const {
    if (sink && sink->failure != 0) throw file_error(path, "written", sink->failure);
  }

  bool exists(const std::string& name) const {
    // HDF5 answers for the last part of a path only.
    for (std::size_t end = 0; end < name.size();) {
      end = std::min(name.find('/', end + 1), name.size());
      const std::string part = name.substr(0, end);
      if (part == "/" || part.ends_with('/')) continue;
      if (H5Lexists(open_file(), part.c_str(), H5P_DEFAULT) <= 0) return false;
    }
    return true;
  }
  void require_exists(const std::string& name) const {
    if (!exists(name))
      throw DataError(
          fmt::format("{}: has no {}; it was made by another program or version, make it anew", path, name));
  }

  void make_groups_of(const std::string& name) const {
    for (auto end = name.find('/', 1); end != std::string::npos; end = name.find('/', end + 1)) {
      const std::string group = name.substr(0, end);
      if (exists(group)) continue;
      const Id properties(H5Pcreate(H5P_GROUP_CREATE), H5Pclose);
      const bool fine = H5Pset_obj_track_times(properties, false) >= 0;
      const Id made(H5Gcreate2(open_file(), group.c_str(), H5P_DEFAULT, properties, H5P_DEFAULT), H5Gclose);
      if (!fine || !made.ok()) throw error(group + ": cannot be written");
    }
  }

  Id make_dataset(const std::string& name, hid_t type, const std::vector<std::int64_t>& dims) const {
    const std::vector<hsize_t> sizes(dims.begin(), dims.end());
    open_file();
    make_groups_of(name);
    const Id space(H5Screate_simple(static_cast<int>(sizes.size()), sizes.data(), nullptr), H5Sclose);
    const Id properties(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
    const bool fine = H5Pset_layout(properties, H5D_CONTIGUOUS) >= 0 && H5Pset_obj_track_times(properties, false) >= 0;
    Id dataset(H5Dcreate2(file, name.c_str(), type, space, H5P_DEFAULT, properties, H5P_DEFAULT), H5Dclose);
    if (!fine || !dataset.ok()) throw error(name + ": cannot be written");
    check_sink();
    return dataset;
  }
  Id open_dataset(const std::string& name) const {
    require_exists(name);
    Id dataset(H5Dopen2(open_file(), name.c_str(), H5P_DEFAULT), H5Dclose);
    if (!dataset.ok()) throw error(name + ": cannot be read");
    const Id properties(H5Dget_create_plist(dataset), H5Pclose);
    if (H5Pget_layout(properties) == H5D_VIRTUAL || H5Pget_external_count(properties) != 0)
      throw DataError(
          fmt::format("{}: {} has its numbers in another file, which is not read; make the file anew, with "
                      "all of it inside",
                      path, name));
    return dataset;
  }
  std::vector<std::int64_t> dims_of(const std::string& name, hid_t dataset) const {
    const Id space(H5Dget_space(dataset), H5Sclose);
    const int rank = space.ok() ? H5Sget_simple_extent_ndims(space) : -1;
    std::vector<hsize_t> dims(static_cast<std::size_t>(std::max(rank, 0)));
    if (rank < 0 || H5Sget_simple_extent_dims(space, dims.data(), nullptr) < 0) throw error(name + ": cannot be read");
    std::int64_t bytes = sizeof(double);
    for (const hsize_t n : dims)
      if (__builtin_mul_overflow(bytes, n, &bytes))
        throw DataError(fmt::format("{}: {} is said to be larger than any file; make the file anew", path, name));
    return {dims.begin(), dims.end()};
  }

  void write_attribute(const std::string& object, const std::string& key, hid_t type, hid_t memory,
                       const void* value) const {
    write_attribute(object, key, type, memory, value, Id(H5Screate(H5S_SCALAR), H5Sclose));
  }
  void write_attribute(const std::string& object, const std::string& key, hid_t type, hid_t memory, const void* value,
                       const Id& space) const {
    const Id made(H5Acreate_by_name(open_file(), object_name(object), key.c_str(), type, space, H5P_DEFAULT,
                                    H5P_DEFAULT, H5P_DEFAULT),
                  H5Aclose);
    if (!made.ok() || H5Awrite(made, memory, value) < 0)
      throw error(attribute_name(object, key) + ": cannot be written");
    check_sink();
  }
  bool has_attribute(const std::string& object, const std::string& key) const {
    if (!object.empty()) require_exists(object);
    const htri_t there = H5Aexists_by_name(open_file(), object_name(object), key.c_str(), H5P_DEFAULT);
    if (there < 0) throw error(attribute_name(object, key) + ": cannot be read");
    return there > 0;
  }
  Id open_attribute(const std::string& object, const std::string& key) const {
    const std::string name = attribute_name(object, key);
    if (!has_attribute(object, key))
      throw DataError(
          fmt::format("{}: has no {}; it was made by another program or version, make it anew", path, name));
    Id found(H5Aopen_by_name(open_file(), object_name(object), key.c_str(), H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
    if (!found.ok()) throw error(name + ": cannot be read");
    return found;
  }
  /// A scalar attribute of a type that `is_kind`.
  Id open_scalar(const std::string& object, const std::string& key, auto is_kind, const char* kind) const {
    Id found = open_attribute(object, key);
    const Id type(H5Aget_type(found), H5Tclose), space(H5Aget_space(found), H5Sclose);
    if (!is_kind(type) || H5Sget_simple_extent_npoints(space) != 1)
      throw DataError(
          fmt::format("{}: {} is not a single {}; make the file anew", path, attribute_name(object, key), kind));
    return found;
  }
};

H5File::H5File(std::unique_ptr<State> state) : state_(std::move(state)) {}
H5File::H5File(H5File&&) noexcept = default;
H5File& H5File::operator=(H5File&&) noexcept = default;
H5File::~H5File() = default;

H5File H5File::create(const std::string& path) {
  quiet();
  auto state = std::make_unique<State>();
  state->path = path;
  state->sink = std::make_unique<H5Sink>(H5Sink{FileDescriptor::open(path, O_RDWR | O_CREAT | O_TRUNC)});
  const Id access = file_access();
  // The format of HDF5 1.8: its metadata have checksums, and all of today's readers know it.
  if (H5Pset_libver_bounds(access, H5F_LIBVER_V18, H5F_LIBVER_V18) < 0 || !use_sink(access, *state->sink))
    throw h5_error(path, "cannot be made");
  const Id properties(H5Pcreate(H5P_FILE_CREATE), H5Pclose);
  const bool fine = H5Pset_obj_track_times(properties, false) >= 0;
  state->file = H5Fcreate(path.c_str(), H5F_ACC_TRUNC, properties, access);
  if (!fine || state->file < 0) throw h5_error(path, "cannot be made");
  state->check_sink();
  return H5File(std::move(state));
}

H5File H5File::open(const std::string& path) {
  quiet();
  FileDescriptor::open(path, O_RDONLY);  // for the system's reason, where it is the system
  if (std::filesystem::is_directory(path)) throw file_error(path, "opened", EISDIR);
  auto state = std::make_unique<State>();
  state->path = path;
  const Id access = file_access();  // lives on: closing it would clear the reason of a failure
  state->file = H5Fopen(path.c_str(), H5F_ACC_RDONLY, access);
  if (state->file < 0) throw h5_error(path, "cannot be read as HDF5");
  return H5File(std::move(state));
}

void H5File::close() {
  if (!state_ || state_->file < 0) return;
  quiet();
  const bool fine = H5Fclose(std::exchange(state_->file, -1)) >= 0;
  state_->check_sink();
  if (!fine) throw state_->error("cannot be written");
  if (state_->sink) state_->sink->file.close();
}

template <H5Number T>
void H5File::write(const std::string& name, std::span<const T> data, const std::vector<std::int64_t>& dims) {
  const Id dataset = state_->make_dataset(name, file_type<T>(), dims);
  assert(static_cast<std::size_t>(H5Sget_simple_extent_npoints(Id(H5Dget_space(dataset), H5Sclose))) == data.size());
  if (!data.empty() && H5Dwrite(dataset, memory_type<T>(), H5S_ALL, H5S_ALL, H5P_DEFAULT, data.data()) < 0)
    throw state_->error(name + ": cannot be written");
  state_->check_sink();
}

template <H5Number T>
void H5File::make(const std::string& name, const std::vector<std::int64_t>& dims) {
  state_->make_dataset(name, file_type<T>(), dims);
}

template <H5Number T>
void H5File::write_stretch(const std::string& name, std::int64_t first, std::span<const T> data) {
  if (data.empty()) return;
  const Id dataset = state_->open_dataset(name), space(H5Dget_space(dataset), H5Sclose);
  const T* next = data.data();
  h5_boxes(state_->dims_of(name, dataset), first, data.size(), space, [&](hid_t memory, hid_t box, hsize_t size) {
    if (H5Dwrite(dataset, memory_type<T>(), memory, box, H5P_DEFAULT, next) < 0)
      throw state_->error(name + ": cannot be written");
    next += size;
  });
  state_->check_sink();
}

template <H5Number T>
H5Place H5File::place_of(const std::string& name) const {
  const Id dataset = state_->open_dataset(name), type(H5Dget_type(dataset), H5Tclose);
  const std::vector<std::int64_t> dims = state_->dims_of(name, dataset);
  const H5Place place{.offset = static_cast<std::int64_t>(H5Dget_offset(dataset)),
                      .count = dims.size() == 1 ? dims[0] : -1};
  if (place.count == 0) return {};  // nothing is stored
  if (place.count < 0 || H5Tequal(type, file_type<T>()) <= 0 || place.offset < 0 ||
      H5Dget_storage_size(dataset) != static_cast<hsize_t>(place.count) * sizeof(T))
    throw DataError(fmt::format("{}: {} is no contiguous row of numbers of {} bytes; make the file anew", state_->path,
                                name, sizeof(T)));
  return place;
}

void H5File::copy(const H5File& from, const std::string& name) {
  from.state_->require_exists(name);
  state_->make_groups_of(name);
  if (H5Ocopy(from.state_->open_file(), name.c_str(), state_->open_file(), name.c_str(), H5P_DEFAULT, H5P_DEFAULT) < 0)
    throw state_->error(name + ": cannot be copied from " + from.state_->path);
  state_->check_sink();
}

bool H5File::exists(const std::string& name) const { return state_->exists(name); }

std::vector<std::string> H5File::children(const std::string& group) const {
  if (!group.empty()) state_->require_exists(group);
  std::vector<std::string> names;
  const auto add = [](hid_t, const char* name, const H5L_info_t*, void* to) -> herr_t {
    static_cast<std::vector<std::string>*>(to)->emplace_back(name);
    return 0;
  };
  if (H5Literate_by_name(state_->open_file(), object_name(group), H5_INDEX_NAME, H5_ITER_INC, nullptr, add, &names,
                         H5P_DEFAULT) < 0)
    throw state_->error(group + ": cannot be read");
  return names;
}

std::vector<std::int64_t> H5File::dims(const std::string& name) const {
  return state_->dims_of(name, state_->open_dataset(name));
}

template <H5Number T>
void H5File::read_into(const std::string& name, std::span<T> to) const {
  const Id dataset = state_->open_dataset(name);
  const std::vector<std::int64_t> dims = state_->dims_of(name, dataset);
  const auto size = std::accumulate(dims.begin(), dims.end(), std::size_t{1}, std::multiplies<>());
  if (size != to.size())
    throw DataError(fmt::format("{}: {} holds {} numbers, {} are wanted; it is of another model or setting",
                                state_->path, name, size, to.size()));
  if (!to.empty() && H5Dread(dataset, memory_type<T>(), H5S_ALL, H5S_ALL, H5P_DEFAULT, to.data()) < 0)
    throw state_->error(name + ": cannot be read");
}

template <H5Number T>
std::vector<T> H5File::read(const std::string& name) const {
  constexpr std::size_t kMostPacking = 1100;  // times that deflate makes anything smaller
  const std::vector<std::int64_t> dims = this->dims(name);
  const auto size = std::accumulate(dims.begin(), dims.end(), std::size_t{1}, std::multiplies<>());
  if (size / kMostPacking > H5Dget_storage_size(state_->open_dataset(name)))
    throw DataError(fmt::format("{}: {} is said to hold {} numbers, but the file has not that many; make it anew",
                                state_->path, name, size));
  std::vector<T> data(size);
  read_into<T>(name, data);
  return data;
}

template <H5Number T>
bool H5File::stores(const std::string& name) const {
  const Id dataset = state_->open_dataset(name), type(H5Dget_type(dataset), H5Tclose);
  return H5Tequal(type, file_type<T>()) > 0;
}

template <H5Number T>
void H5File::read_stretch(const std::string& name, std::int64_t first, std::span<T> to) const {
  const Id dataset = state_->open_dataset(name), space(H5Dget_space(dataset), H5Sclose);
  const std::vector<std::int64_t> dims = state_->dims_of(name, dataset);
  const auto size = std::accumulate(dims.begin(), dims.end(), std::int64_t{1}, std::multiplies<>());
  const auto wanted = static_cast<std::int64_t>(to.size());
  if (first < 0 || wanted > size || first > size - wanted)
    throw DataError(fmt::format("{}: {} holds {} numbers, {} from {} on are wanted; it is of another model or setting",
                                state_->path, name, size, wanted, first));
  T* next = to.data();
  h5_boxes(dims, first, to.size(), space, [&](hid_t memory, hid_t box, hsize_t count) {
    if (H5Dread(dataset, memory_type<T>(), memory, box, H5P_DEFAULT, next) < 0)
      throw state_->error(name + ": cannot be read");
    next += count;
  });
}

void H5File::attribute(const std::string& object, const std::string& key, const std::string& value) {
  state_->open_file();
  const Id type = text_type(value.size());
  state_->write_attribute(object, key, type, type, value.c_str());
}
void H5File::attribute(const std::string& object, const std::string& key, double value) {
  state_->open_file();
  state_->write_attribute(object, key, file_type<double>(), memory_type<double>(), &value);
}
void H5File::attribute(const std::string& object, const std::string& key, std::int64_t value) {
  state_->open_file();
  state_->write_attribute(object, key, file_type<std::int64_t>(), memory_type<std::int64_t>(), &value);
}
void H5File::attribute(const std::string& object, const std::string& key, std::span<const std::int64_t> values) {
  assert(!values.empty());
  state_->open_file();
  const hsize_t size = values.size();
  state_->write_attribute(object, key, file_type<std::int64_t>(), memory_type<std::int64_t>(), values.data(),
                          Id(H5Screate_simple(1, &size, nullptr), H5Sclose));
}

bool H5File::has_attribute(const std::string& object, const std::string& key) const {
  return state_->has_attribute(object, key);
}

std::string H5File::text_attribute(const std::string& object, const std::string& key) const {
  const auto is_text = [](hid_t type) { return H5Tget_class(type) == H5T_STRING && H5Tis_variable_str(type) == 0; };
  const Id found = state_->open_scalar(object, key, is_text, "text of fixed length");
  const Id type(H5Aget_type(found), H5Tclose);
  std::string value(H5Tget_size(type), '\0');
  if (H5Aread(found, type, value.data()) < 0) throw state_->error(attribute_name(object, key) + ": cannot be read");
  return value.c_str();  // to the first NUL
}

template <H5Number T>
T H5File::number_attribute(const std::string& object, const std::string& key) const {
  const auto is_number = [](hid_t type) {
    return H5Tget_class(type) == H5T_INTEGER || H5Tget_class(type) == H5T_FLOAT;
  };
  const Id found = state_->open_scalar(object, key, is_number, "number");
  T value{};
  if (H5Aread(found, memory_type<T>(), &value) < 0)
    throw state_->error(attribute_name(object, key) + ": cannot be read");
  return value;
}

std::vector<std::int64_t> H5File::list_attribute(const std::string& object, const std::string& key) const {
  const Id found = state_->open_attribute(object, key);
  const Id type(H5Aget_type(found), H5Tclose), space(H5Aget_space(found), H5Sclose);
  if (H5Tget_class(type) != H5T_INTEGER || H5Sget_simple_extent_ndims(space) != 1)
    throw DataError(
        fmt::format("{}: {} is not a list of integers; make the file anew", state_->path, attribute_name(object, key)));
  std::vector<std::int64_t> values(static_cast<std::size_t>(H5Sget_simple_extent_npoints(space)));
  if (H5Aread(found, memory_type<std::int64_t>(), values.data()) < 0)
    throw state_->error(attribute_name(object, key) + ": cannot be read");
  return values;
}

#define SPIKESINK_H5_NUMBER(T)                                                                              \
  template void H5File::write<T>(const std::string&, std::span<const T>, const std::vector<std::int64_t>&); \
  template void H5File::make<T>(const std::string&, const std::vector<std::int64_t>&);                      \
  template void H5File::write_stretch<T>(const std::string&, std::int64_t, std::span<const T>);             \
  template H5Place H5File::place_of<T>(const std::string&) const;                                           \
  template bool H5File::stores<T>(const std::string&) const;                                                \
  template void H5File::read_into<T>(const std::string&, std::span<T>) const;                               \
  template std::vector<T> H5File::read<T>(const std::string&) const;                                        \
  template void H5File::read_stretch<T>(const std::string&, std::int64_t, std::span<T>) const;              \
  template T H5File::number_attribute<T>(const std::string&, const std::string&) const;
SPIKESINK_H5_NUMBER(float)
SPIKESINK_H5_NUMBER(double)
SPIKESINK_H5_NUMBER(bf16)
SPIKESINK_H5_NUMBER(std::uint16_t)
SPIKESINK_H5_NUMBER(std::int32_t)
SPIKESINK_H5_NUMBER(std::int64_t)
#undef SPIKESINK_H5_NUMBER

}  // namespace spikesink
