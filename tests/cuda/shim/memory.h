// What kernels may touch, and when: checks of global and shared memory, and copies between them.
#pragma once

#include <stdlib.h>

#include "shim.h"

namespace shim {

// --- global memory. Of each 4 bytes one is kept: bits 0 and 1 say which halves this launch has loaded, 4 and 5 which
// it has stored.

constexpr uint8_t LOADED = 0x03, STORED = 0x30;

// A part of memory that kernels may touch.
struct Seen {
  uint64_t begin, end;
  uint8_t* marks;  // null: not kept
};
inline Seen hit;  // of the last access
inline std::vector<uint8_t*> all_marks;  // by region; null until it is touched

inline void forget_marks() {
  for (uint8_t* marks : all_marks) free(marks);
  all_marks.assign(launch->regions_count, nullptr);
  hit = {0, launch->regions_count ? 0 : UINT64_MAX, nullptr};
}

__attribute__((noinline)) inline void find_region(const char* what, uint64_t address, uint32_t bytes) {
  const Region* end = launch->regions + launch->regions_count;
  const Region* r =
      std::upper_bound(launch->regions, end, address, [](uint64_t a, const Region& b) { return a < b.end; });
  if (r == end || address < r->begin || address + bytes > r->end) {
    // What begins at or before it is the likeliest to have been meant.
    const Region* near = r < end && r->begin <= address ? r : r > launch->regions ? r - 1 : nullptr;
    if (!near) fail("%s of %u bytes at 0x%llx, beyond all memory", what, bytes, (unsigned long long)address);
    fail("%s of %u bytes at 0x%llx, beyond all memory: byte %llu of the %llu at 0x%llx", what, bytes,
         (unsigned long long)address, (unsigned long long)(address - near->begin),
         (unsigned long long)(near->end - near->begin), (unsigned long long)near->begin);
  }
  uint8_t*& marks = all_marks[r - launch->regions];
  if (!marks) marks = static_cast<uint8_t*>(calloc((r->end - r->begin) / 4 + 2, 1));
  hit = {r->begin, r->end, marks};
}

// An access of this launch, `as` LOADED or STORED. What is loaded may be read ahead of time and by another path than
// stores take: the launch may store nothing there.
template <uint32_t BYTES>
inline void touch(const char* what, const void* p, uint8_t as) {
  uint64_t address = reinterpret_cast<uint64_t>(p);
  if (__builtin_expect(address % BYTES != 0, false))
    fail("%s of %u bytes at 0x%llx, which is not aligned to them", what, BYTES, (unsigned long long)address);
  if (__builtin_expect(address < hit.begin || address + BYTES > hit.end, false)) find_region(what, address, BYTES);
  if (!hit.marks) return;
  uint32_t marks = 0;
  uint32_t mine = BYTES == 2 ? (as & 0x11) << (address & 2) / 2 : as * 0x01010101u;
  constexpr uint32_t LENGTH = BYTES < 4 ? 1 : BYTES / 4;
  uint8_t* kept = hit.marks + (address / 4 - hit.begin / 4);
  memcpy(&marks, kept, LENGTH);
  // A mark of the other kind lies 4 bits higher or lower.
  if (__builtin_expect((marks & (as == LOADED ? mine << 4 : mine >> 4)) != 0, false))
    fail("%s of %u bytes at 0x%llx, which this launch has %s", what, BYTES, (unsigned long long)address,
         as == LOADED ? "stored" : "loaded");
  marks |= mine;
  memcpy(kept, &marks, LENGTH);
}

// --- shared memory

constexpr uint32_t MAX_SHARED_BYTES = 227 << 10;  // a block's on sm_90
constexpr uint32_t GUARD_BYTES = 4096;            // before and behind; they are NaN and stay so
constexpr uint8_t NAN_BYTE = 0xff;                // any float, f16 and bf16 made of it is NaN
inline uint8_t* shared;                           // the block's: launch->shared_bytes

inline bool map_shared() {
  constexpr size_t bytes = MAX_SHARED_BYTES + 2 * GUARD_BYTES;
  static void* arena = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (arena == MAP_FAILED) return false;
  shared = static_cast<uint8_t*>(arena) + GUARD_BYTES;
#ifdef __SANITIZE_ADDRESS__
  __asan_poison_memory_region(arena, bytes);
  __asan_unpoison_memory_region(shared, launch->shared_bytes);
#else
  memset(shared - GUARD_BYTES, NAN_BYTE, GUARD_BYTES);
  memset(shared + launch->shared_bytes, NAN_BYTE, GUARD_BYTES);
#endif
  return true;
}

// The first byte that was written outside, or null. AddressSanitizer would have stopped whoever did it.
inline const uint8_t* overrun() {
#ifndef __SANITIZE_ADDRESS__
  for (const uint8_t* guard : {shared - GUARD_BYTES, shared + launch->shared_bytes})
    if (guard[0] != NAN_BYTE || memcmp(guard, guard + 1, GUARD_BYTES - 1))
      return std::find_if(guard, guard + GUARD_BYTES, [](uint8_t b) { return b != NAN_BYTE; });
#endif
  return nullptr;
}

inline void check_shared(const char* what, const void* p, uint32_t bytes) {
  long long offset = static_cast<const uint8_t*>(p) - shared, end = (long long)launch->shared_bytes;
  if (offset < 0 || offset + bytes > end || offset % bytes)
    fail("%s of %u bytes at byte %lld of %lld of shared memory%s", what, bytes, offset, end,
         offset % bytes ? ", which is not aligned to them" : "");
}

// --- copies from the one to the other

template <uint32_t BYTES>
inline void copy_async(void* to, const void* from, bool inside) {
  check_shared("copy_async", to, BYTES);
  if (inside) {
    touch<BYTES>("copy_async", from, LOADED);
    counts.bytes_read += BYTES;
  } else if (reinterpret_cast<uint64_t>(from) % BYTES) {
    fail("copy_async of %u bytes from %p, which is not aligned to them", BYTES, from);
  }
  memset(to, NAN_BYTE, BYTES);  // it may land at any time: from here to the wait nobody can read what was there
  running->copies.push_back({to, inside ? from : nullptr, BYTES, running->groups});
}

// Lets copies land until at most so many groups are under way.
inline void land_copies(uint32_t groups_under_way) {
  std::vector<Copy>& copies = running->copies;
  auto copy = copies.begin();
  for (; copy != copies.end() && copy->group + groups_under_way < running->groups; ++copy) {
    if (copy->from)
      memcpy(copy->to, copy->from, copy->bytes);
    else
      memset(copy->to, 0, copy->bytes);
  }
  if (copy != copies.begin()) running->unseen = true;
  copies.erase(copies.begin(), copy);
}

}  // namespace shim
