#include "arena.h"

#include <sys/mman.h>

#include <cstdint>
#include <limits>
#include <mutex>
#include <new>

namespace cnnkern {
namespace {

constexpr size_t kLine = 64;
constexpr size_t kPage = 4096;
constexpr size_t kHugePage = size_t(2) << 20;

size_t round_up(size_t value, size_t unit) { return (value + unit - 1) / unit * unit; }

// Whole pages; from kHugePage on aligned to it.
std::shared_ptr<void> map(size_t bytes) {
  const bool huge = bytes >= kHugePage;
  const size_t mapped = round_up(bytes, huge ? kHugePage : kPage);
  const size_t slack = huge ? kHugePage : 0;  // mmap aligns to a page only: map more, give the ends back
  void* base = mmap(nullptr, mapped + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (base == MAP_FAILED) throw std::bad_alloc();
  if (huge) {
    const uintptr_t begin = reinterpret_cast<uintptr_t>(base), aligned = round_up(begin, kHugePage);
    const size_t head = aligned - begin, tail = slack - head;
    if (head) munmap(base, head);
    if (tail) munmap(reinterpret_cast<void*>(aligned + mapped), tail);
    base = reinterpret_cast<void*>(aligned);
#ifdef MADV_HUGEPAGE
    madvise(base, mapped, MADV_HUGEPAGE);  // a wish: where the kernel declines, small pages serve
#endif
  }
  return std::shared_ptr<void>(base, [mapped](void* p) { munmap(p, mapped); });
}

// A small arena's part of the block that the last ones were cut from. Parts are never used twice, so they are zero.
std::shared_ptr<void> cut(size_t bytes) {
  static std::mutex lock;
  static std::weak_ptr<void> block;
  static size_t used = 0;
  std::lock_guard<std::mutex> guard(lock);
  std::shared_ptr<void> owner = block.lock();
  if (!owner || used + bytes > kHugePage) block = owner = map(kHugePage), used = 0;
  void* part = static_cast<char*>(owner.get()) + used;
  used += round_up(bytes, kLine);
  return std::shared_ptr<void>(owner, part);
}

}  // namespace

Arena::Arena(size_t bytes) : bytes_(bytes) {
  if (bytes == 0) return;
  if (bytes > std::numeric_limits<size_t>::max() / 2) throw std::bad_alloc();
  memory_ = bytes < kHugePage ? cut(bytes) : map(bytes);
}

}  // namespace cnnkern
