// Aligned memory that the drivers carve up: one arena per context, allocated once.
#pragma once

#include <cstddef>

namespace cnnkern {

// `bytes` of memory, 64-byte aligned, zero until first written (pages are only taken then). From 2 MiB on it is 2 MiB
// aligned and asks for huge pages. Movable, not copyable; throws std::bad_alloc.
class Arena {
 public:
  Arena() = default;
  explicit Arena(size_t bytes);
  ~Arena();
  Arena(Arena&& other) noexcept;
  Arena& operator=(Arena&& other) noexcept;
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  float* data() const { return static_cast<float*>(data_); }  // nullptr when empty
  size_t bytes() const { return bytes_; }                     // as asked for

 private:
  void* data_ = nullptr;
  size_t bytes_ = 0;
  size_t mapped_ = 0;
};

}  // namespace cnnkern
