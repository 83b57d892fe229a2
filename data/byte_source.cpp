#include <fcntl.h>
#include <fmt/format.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include <algorithm>
#include <array>
#include <new>
#include <span>

#include "data/line_reader.h"
#include "io/failure.h"
#include "io/file_descriptor.h"

namespace spikesink {
namespace {

constexpr std::size_t kInputBytes = std::size_t{64} << 10;

/// A file read front to back, which knows how far.
class File {
 public:
  explicit File(const std::string& path) : file_(FileDescriptor::open(path, O_RDONLY)) {}

  std::size_t read(char* to, std::size_t size) {
    const std::size_t got = file_.read(std::as_writable_bytes(std::span(to, size)));
    offset_ += got;
    return got;
  }

  std::uint64_t offset() const { return offset_; }
  const std::string& path() const { return file_.path(); }
  /// `unread`: bytes that were read but not looked at.
  [[noreturn]] void broken(const std::string& reason, std::size_t unread) const {
    throw DataError(fmt::format("{}: broken near byte {}: {}; fetch it again or leave it out", file_.path(),
                                offset_ - unread, reason));
  }

 private:
  FileDescriptor file_;
  std::uint64_t offset_ = 0;
};

class PlainSource final : public ByteSource {
 public:
  explicit PlainSource(const std::string& path) : file_(path) {}
  std::uint64_t file_bytes() const override { return file_.offset(); }
  std::size_t read(char* to, std::size_t size) override { return file_.read(to, size); }

 private:
  File file_;
};

class ZstdSource final : public ByteSource {
 public:
  explicit ZstdSource(const std::string& path) : file_(path), context_(ZSTD_createDCtx()) {
    if (!context_) throw std::bad_alloc();
  }
  std::uint64_t file_bytes() const override { return file_.offset(); }
  std::size_t read(char* to, std::size_t size) override {
    ZSTD_outBuffer out{to, size, 0};
    while (out.pos == 0) {
      if (in_.pos == in_.size && !held_back_) {
        in_ = {input_.data(), file_.read(input_.data(), input_.size()), 0};
        if (in_.size == 0) {
          if (in_frame_) file_.broken("the file ends in the middle of a zstd frame", 0);
          return 0;
        }
      }
      const std::size_t left = ZSTD_decompressStream(context_.get(), &out, &in_);
      if (ZSTD_getErrorCode(left) == ZSTD_error_frameParameter_windowTooLarge)
        throw DataError(
            fmt::format("{}: its zstd frame needs a window of more than 128 MiB; pack it again with zstd "
                        "--long=27 or without --long",
                        file_.path()));
      if (ZSTD_getErrorCode(left) == ZSTD_error_memory_allocation) throw std::bad_alloc();
      if (ZSTD_isError(left))
        file_.broken(fmt::format("not a sound zstd frame ({})", ZSTD_getErrorName(left)), in_.size - in_.pos);
      in_frame_ = left != 0;
      held_back_ = in_frame_ && out.pos == out.size;  // more of the output may wait inside, without further input
    }
    return out.pos;
  }

 private:
  struct Free {
    void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
  };
  File file_;
  std::unique_ptr<ZSTD_DCtx, Free> context_;
  std::array<char, kInputBytes> input_;
  ZSTD_inBuffer in_{input_.data(), 0, 0};
  bool in_frame_ = false, held_back_ = false;
};

class GzipSource final : public ByteSource {
 public:
  explicit GzipSource(const std::string& path) : file_(path) {
    constexpr int kGzipOnly = 16;
    if (inflateInit2(&stream_, MAX_WBITS + kGzipOnly) != Z_OK) throw std::bad_alloc();
  }
  ~GzipSource() override { inflateEnd(&stream_); }
  GzipSource(const GzipSource&) = delete;
  GzipSource& operator=(const GzipSource&) = delete;

  std::uint64_t file_bytes() const override { return file_.offset(); }
  std::size_t read(char* to, std::size_t size) override {
    stream_.next_out = reinterpret_cast<Bytef*>(to);
    stream_.avail_out = static_cast<uInt>(std::min(size, std::size_t{1} << 30));
    const uInt room = stream_.avail_out;
    while (stream_.avail_out == room) {
      if (stream_.avail_in == 0 && !held_back_) {
        stream_.next_in = reinterpret_cast<Bytef*>(input_.data());
        stream_.avail_in = static_cast<uInt>(file_.read(input_.data(), input_.size()));
        if (stream_.avail_in == 0) {
          if (in_member_) file_.broken("the file ends in the middle of a gzip member", 0);
          return 0;
        }
      }
      if (!in_member_ && is_behind_member_) {
        if (pass_zeros()) continue;
        if (passed_zeros_) file_.broken("zeros behind a gzip member, and more behind those", stream_.avail_in);
      }
      in_member_ = true;
      const int status = inflate(&stream_, Z_NO_FLUSH);
      if (status == Z_STREAM_END) {
        in_member_ = false;
        is_behind_member_ = true;
        inflateReset(&stream_);
      } else if (status == Z_MEM_ERROR) {
        throw std::bad_alloc();
      } else if (status != Z_OK && status != Z_BUF_ERROR) {
        file_.broken(fmt::format("not a sound gzip member ({})", stream_.msg ? stream_.msg : zError(status)),
                     stream_.avail_in);
      }
      held_back_ = in_member_ && stream_.avail_out == 0;
    }
    return room - stream_.avail_out;
  }

 private:
  /// Passes over the zeros that fill up a file behind its last member, as gzip does. Whether nothing else is at hand.
  bool pass_zeros() {
    for (; stream_.avail_in > 0 && *stream_.next_in == 0; ++stream_.next_in, --stream_.avail_in) passed_zeros_ = true;
    return stream_.avail_in == 0;
  }

  File file_;
  z_stream stream_{};
  std::array<char, kInputBytes> input_;
  bool in_member_ = false, held_back_ = false, is_behind_member_ = false, passed_zeros_ = false;
};

}  // namespace

std::unique_ptr<ByteSource> open_bytes(const std::string& path) {
  if (path.ends_with(".zst")) return std::make_unique<ZstdSource>(path);
  if (path.ends_with(".gz")) return std::make_unique<GzipSource>(path);
  return std::make_unique<PlainSource>(path);
}

}  // namespace spikesink
