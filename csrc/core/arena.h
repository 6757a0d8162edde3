// Aligned memory that the drivers carve up: one arena per context, allocated once; one for each operation's weights.
#pragma once

#include <cstddef>
#include <memory>

namespace cnnkern {

// `bytes` of memory, 64-byte aligned, zero until first written. From 2 MiB on it is 2 MiB aligned and asks for huge
// pages; smaller ones lie side by side in such memory, which is given back with the last of them. Movable, not copyable;
// throws std::bad_alloc.
class Arena {
 public:
  Arena() = default;
  explicit Arena(size_t bytes);
  Arena(Arena&&) noexcept = default;
  Arena& operator=(Arena&&) noexcept = default;
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  float* data() const { return static_cast<float*>(memory_.get()); }  // nullptr when empty
  size_t bytes() const { return memory_ ? bytes_ : 0; }               // as asked for

 private:
  std::shared_ptr<void> memory_;
  size_t bytes_ = 0;
};

}  // namespace cnnkern
