#include "arch.h"

#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <sstream>
#include <stdexcept>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace cnnkern {
namespace {

#if defined(__x86_64__)

struct Cpuid {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
};

Cpuid cpuid(unsigned leaf, unsigned subleaf = 0) {
  Cpuid r;
  __get_cpuid_count(leaf, subleaf, &r.eax, &r.ebx, &r.ecx, &r.edx);  // leaves zeros for a leaf the CPU lacks
  return r;
}

bool bit(unsigned word, int index) { return (word >> index) & 1u; }

// Which register states the operating system saves: a CPU that can run AVX-512 under one that does not save zmm can not.
uint64_t saved_states() {
  if (!bit(cpuid(1).ecx, 27)) return 0;  // OSXSAVE: without it XGETBV faults
  uint32_t low = 0, high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (uint64_t(high) << 32) | low;
}

bool cpu_runs(Isa isa) {
  constexpr uint64_t ymm = 0x06, zmm = 0xE6;  // XCR0: sse+avx; and opmask, upper zmm, zmm16-31
  const unsigned leaf7 = cpuid(7).ebx, leaf1 = cpuid(1).ecx;
  const uint64_t saved = saved_states();
  const bool avx2 = bit(leaf1, 28) && bit(leaf1, 12) && bit(leaf7, 5) && (saved & ymm) == ymm;  // AVX, FMA, AVX2
  switch (isa) {
    case Isa::vec128:
      return true;
    case Isa::avx2:
      return avx2;
    case Isa::avx512:  // F, DQ, BW, VL
      return avx2 && bit(leaf7, 16) && bit(leaf7, 17) && bit(leaf7, 30) && bit(leaf7, 31) && (saved & zmm) == zmm;
  }
  return false;
}

#else

bool cpu_runs(Isa isa) { return isa == Isa::vec128; }

#endif

// One line per ISA; vec128 is in every build, for the others CMake's cnnkern_isa() defines the macro where it built the object.
constexpr Isa kCompiled[] = {
    Isa::vec128,
#ifdef CNNKERN_HAS_AVX2
    Isa::avx2,
#endif
#ifdef CNNKERN_HAS_AVX512
    Isa::avx512,
#endif
};

// The first line of a file under /sys or /proc; "" where there is none.
std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

long parse_size(const std::string& text) {  // "32K", "1M"
  std::istringstream in(text);
  long value = 0;
  char unit = ' ';
  in >> value >> unit;
  return unit == 'K' ? value << 10 : unit == 'M' ? value << 20 : unit == 'G' ? value << 30 : value;
}

}  // namespace

const char* isa_name(Isa isa) {
  switch (isa) {
    case Isa::vec128:
      return "vec128";
    case Isa::avx2:
      return "avx2";
    case Isa::avx512:
      return "avx512";
  }
  return "?";
}

std::vector<Isa> available_isas() {
  std::vector<Isa> found;
  for (Isa isa : kCompiled) {
    if (cpu_runs(isa)) found.push_back(isa);
  }
  return found;
}

Isa resolve_isa(const std::string& name) {
  const std::vector<Isa> found = available_isas();
  if (name.empty()) return found.back();
  std::string list;
  for (Isa isa : found) {
    if (name == isa_name(isa)) return isa;
    list += (list.empty() ? "" : ", ") + std::string(isa_name(isa));
  }
  throw std::invalid_argument("ISA '" + name + "' is not available here; this CPU (" + cpu_name() +
                              ") and build have: " + list);
}

CacheSizes cache_sizes() {
  CacheSizes sizes;
  const std::string base = "/sys/devices/system/cpu/cpu0/cache/index";
  for (int i = 0; i < 8; ++i) {
    const std::string index = base + std::to_string(i) + "/";
    const std::string level = first_line(index + "level");
    if (level.empty()) break;
    const long bytes = parse_size(first_line(index + "size"));
    if (level == "1" && first_line(index + "type") != "Instruction") sizes.l1d = bytes;
    if (level == "2") sizes.l2 = bytes;
    if (level == "3") sizes.l3 = bytes;
  }
#ifdef _SC_LEVEL1_DCACHE_SIZE
  const auto fill = [](long& slot, int name) {
    if (slot == 0) slot = std::max(0L, sysconf(name));
  };
  fill(sizes.l1d, _SC_LEVEL1_DCACHE_SIZE);
  fill(sizes.l2, _SC_LEVEL2_CACHE_SIZE);
  fill(sizes.l3, _SC_LEVEL3_CACHE_SIZE);
#endif
  return sizes;
}

std::string cpu_name() {
#if defined(__x86_64__)
  char brand[49] = {};
  for (unsigned i = 0; i < 3; ++i) {
    const Cpuid r = cpuid(0x80000002u + i);
    const unsigned words[4] = {r.eax, r.ebx, r.ecx, r.edx};
    std::memcpy(brand + 16 * i, words, 16);
  }
  std::string name(brand);
#else
  std::string name = first_line("/sys/firmware/devicetree/base/model");
#endif
  const size_t begin = name.find_first_not_of(' '), end = name.find_last_not_of(" \0");
  return begin == std::string::npos ? "unknown CPU" : name.substr(begin, end - begin + 1);
}

}  // namespace cnnkern
