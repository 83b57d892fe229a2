#include "io/h5_sink.h"

#include <hdf5.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <new>
#if __has_include(<H5FDdevelop.h>)  // HDF5 1.14 and later
#include <H5FDdevelop.h>
#endif

namespace spikesink {
namespace {

/// HDF5's handle: its own part must come first.
struct Handle {
  H5FD_t of_hdf5;
  H5Sink* sink;
  haddr_t end_of_addresses;
  haddr_t end_of_file;
};
Handle& handle(H5FD_t* file) { return *reinterpret_cast<Handle*>(file); }
const Handle& handle(const H5FD_t* file) { return *reinterpret_cast<const Handle*>(file); }

/// What a property list carries.
struct Info {
  H5Sink* sink;
};

H5FD_t* open(const char*, unsigned, hid_t access, haddr_t) {
  const auto* info = static_cast<const Info*>(H5Pget_driver_info(access));
  if (!info) return nullptr;
  auto* made = new (std::nothrow) Handle{{}, info->sink, 0, 0};
  return made ? &made->of_hdf5 : nullptr;
}

herr_t close(H5FD_t* file) {
  delete &handle(file);
  return 0;
}

/// As HDF5's own driver: it may gather small pieces.
herr_t query(const H5FD_t*, unsigned long* features) {
  if (features)
    *features = H5FD_FEAT_AGGREGATE_METADATA | H5FD_FEAT_ACCUMULATE_METADATA | H5FD_FEAT_DATA_SIEVE |
                H5FD_FEAT_AGGREGATE_SMALLDATA;
  return 0;
}

haddr_t get_eoa(const H5FD_t* file, H5FD_mem_t) { return handle(file).end_of_addresses; }
herr_t set_eoa(H5FD_t* file, H5FD_mem_t, haddr_t end) {
  handle(file).end_of_addresses = end;
  return 0;
}
haddr_t get_eof(const H5FD_t* file, H5FD_mem_t) { return handle(file).end_of_file; }

herr_t read(H5FD_t* file, H5FD_mem_t, hid_t, haddr_t from, std::size_t size, void* to) {
  const Handle& h = handle(file);
  auto* bytes = static_cast<char*>(to);
  auto offset = static_cast<off_t>(from);
  while (size > 0) {
    const ssize_t n = pread(h.sink->file.get(), bytes, size, offset);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    bytes += n, offset += n, size -= static_cast<std::size_t>(n);
  }
  std::fill_n(bytes, size, '\0');  // after the end of the file
  return 0;
}

herr_t write(H5FD_t* file, H5FD_mem_t, hid_t, haddr_t to, std::size_t size, const void* from) {
  Handle& h = handle(file);
  h.end_of_file = std::max(h.end_of_file, to + size);
  const auto* bytes = static_cast<const char*>(from);
  auto offset = static_cast<off_t>(to);
  while (size > 0 && h.sink->failure == 0) {
    const ssize_t n = pwrite(h.sink->file.get(), bytes, size, offset);
    if (n >= 0)
      bytes += n, offset += n, size -= static_cast<std::size_t>(n);
    else if (errno != EINTR)
      h.sink->failure = errno;
  }
  return 0;
}

herr_t truncate(H5FD_t* file, hid_t, hbool_t) {
  Handle& h = handle(file);
  if (h.end_of_file == h.end_of_addresses) return 0;
  h.end_of_file = h.end_of_addresses;
  if (h.sink->failure == 0 && ftruncate(h.sink->file.get(), static_cast<off_t>(h.end_of_file)) != 0)
    h.sink->failure = errno;
  return 0;
}

const H5FD_class_t& driver() {
  static const H5FD_class_t made = [] {
    H5FD_class_t d{};
#ifdef H5FD_CLASS_VERSION
    d.version = H5FD_CLASS_VERSION;
    d.value = static_cast<H5FD_class_value_t>(600);  // any that is free, from 512 on
#endif
    d.name = "spikesink";
    d.maxaddr = static_cast<haddr_t>(std::numeric_limits<off_t>::max());
    d.fc_degree = H5F_CLOSE_STRONG;
    d.fapl_size = sizeof(Info);
    d.open = open;
    d.close = close;
    d.query = query;
    d.get_eoa = get_eoa;
    d.set_eoa = set_eoa;
    d.get_eof = get_eof;
    d.read = read;
    d.write = write;
    d.truncate = truncate;
    constexpr H5FD_mem_t kKinds[H5FD_MEM_NTYPES] = H5FD_FLMAP_DICHOTOMY;
    std::copy(std::begin(kKinds), std::end(kKinds), d.fl_map);
    return d;
  }();
  return made;
}

}  // namespace

bool use_sink(std::int64_t access, H5Sink& sink) {
  static const hid_t id = H5FDregister(&driver());
  const Info info{&sink};
  return id >= 0 && H5Pset_driver(access, id, &info) >= 0;
}

}  // namespace spikesink
