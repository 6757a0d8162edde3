#include "arena.h"

#include <sys/mman.h>

#include <cstdint>
#include <limits>
#include <new>
#include <utility>

namespace cnnkern {
namespace {

constexpr size_t kPage = 4096;
constexpr size_t kHugePage = size_t(2) << 20;

size_t round_up(size_t value, size_t unit) { return (value + unit - 1) / unit * unit; }

}  // namespace

Arena::Arena(size_t bytes) : bytes_(bytes) {
  if (bytes == 0) return;
  if (bytes > std::numeric_limits<size_t>::max() / 2) throw std::bad_alloc();
  const bool huge = bytes >= kHugePage;
  mapped_ = round_up(bytes, huge ? kHugePage : kPage);
  const size_t slack = huge ? kHugePage : 0;  // mmap aligns to a page only: map more, give the ends back
  void* base = mmap(nullptr, mapped_ + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (base == MAP_FAILED) throw std::bad_alloc();
  if (huge) {
    const uintptr_t begin = reinterpret_cast<uintptr_t>(base), aligned = round_up(begin, kHugePage);
    const size_t head = aligned - begin, tail = slack - head;
    if (head) munmap(base, head);
    if (tail) munmap(reinterpret_cast<void*>(aligned + mapped_), tail);
    base = reinterpret_cast<void*>(aligned);
#ifdef MADV_HUGEPAGE
    madvise(base, mapped_, MADV_HUGEPAGE);  // a wish: where the kernel declines, small pages serve
#endif
  }
  data_ = base;
}

Arena::~Arena() {
  if (data_) munmap(data_, mapped_);
}

Arena::Arena(Arena&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)),
      mapped_(std::exchange(other.mapped_, 0)) {}

Arena& Arena::operator=(Arena&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  std::swap(mapped_, other.mapped_);
  return *this;
}

}  // namespace cnnkern
