// counting<Verbs>: the verbs of an ISA, at its width, adding up every lane's operation and every byte moved.
// Values are computed as well, so a counted run is a real run. Included inside an ISA's namespace.
//
// What stays uncounted: constants (zero, set1), what only picks bits or lanes (abs, with_sign, head, exponent, mantissa,
// keep_n, zip, with_turn), pointer work, prefetches, and whatever the compiler keeps on the stack.

static thread_local Counters* counters = nullptr;

template <class B>
struct counting {
  using vec = typename B::vec;
  static constexpr int width = B::width;
  static constexpr int registers = B::registers;
  static constexpr bool counted = true;

  static inline int64_t clip(int64_t n) { return n < 0 ? 0 : n > width ? width : n; }

  static inline vec zero() { return B::zero(); }
  static inline vec set1(float x) { return B::set1(x); }
  static inline vec load(const float* p) {
    counters->bytes_read += 4 * width;
    return B::load(p);
  }
  static inline vec load_n(const float* p, int64_t n) {
    counters->bytes_read += 4 * clip(n);
    return B::load_n(p, n);
  }
  static inline void store(float* p, vec v) {
    counters->bytes_written += 4 * width;
    B::store(p, v);
  }
  static inline void store_n(float* p, vec v, int64_t n) {
    counters->bytes_written += 4 * clip(n);
    B::store_n(p, v, n);
  }
  static inline vec bcast(const float* p) {
    counters->bytes_read += 4;
    return B::bcast(p);
  }
  static inline vec fma(vec a, vec b, vec c) {
    counters->fma += width;
    return B::fma(a, b, c);
  }
  static inline vec fma_mem(vec a, const float* p, vec c) {
    counters->fma += width;
    counters->bytes_read += 4 * width;
    return B::fma_mem(a, p, c);
  }
  static inline vec add(vec a, vec b) {
    counters->add += width;
    return B::add(a, b);
  }
  static inline vec sub(vec a, vec b) {
    counters->add += width;
    return B::sub(a, b);
  }
  static inline vec mul(vec a, vec b) {
    counters->mul += width;
    return B::mul(a, b);
  }
  static inline vec div(vec a, vec b) {
    counters->special += width;
    return B::div(a, b);
  }
  static inline vec sqrt(vec a) {
    counters->special += width;
    return B::sqrt(a);
  }
  static inline vec max(vec a, vec b) {
    counters->max += width;
    return B::max(a, b);
  }
  static inline vec min(vec a, vec b) {
    counters->max += width;
    return B::min(a, b);
  }
  static inline vec max_nan(vec a, vec b) {
    counters->max += width;
    return B::max_nan(a, b);
  }
  static inline vec min_nan(vec a, vec b) {
    counters->max += width;
    return B::min_nan(a, b);
  }
  static inline vec round(vec a) {
    counters->add += width;
    return B::round(a);
  }
  static inline vec scale2(vec a, vec n) {
    counters->mul += width;
    return B::scale2(a, n);
  }
  static inline vec exponent(vec a) { return B::exponent(a); }
  static inline vec mantissa(vec a) { return B::mantissa(a); }
  static inline vec abs(vec a) { return B::abs(a); }
  static inline vec with_sign(vec a, vec b) { return B::with_sign(a, b); }
  static inline vec head(vec a) { return B::head(a); }
  static inline vec keep_n(vec a, int64_t n) { return B::keep_n(a, n); }
  static inline vec load_or(const float* p, int64_t n, float other) {
    counters->bytes_read += 4 * clip(n);
    return B::load_or(p, n, other);
  }
  static inline void zip(vec a, vec b, vec* lo, vec* hi) { B::zip(a, b, lo, hi); }
  template <class F>
  static inline void with_turn(int64_t d, F f) {
    B::with_turn(d, f);
  }
  static inline vec select_lt(vec a, vec b, vec x, vec y) {
    counters->max += width;
    return B::select_lt(a, b, x, y);
  }
  static inline float reduce_add(vec a) {
    counters->add += width - 1;
    return B::reduce_add(a);
  }
  static inline float reduce_max(vec a) {
    counters->max += width - 1;
    return B::reduce_max(a);
  }
  static inline void prefetch(const float*) {}
  template <class T>
  static inline T opaque(T x) {
    return B::opaque(x);
  }
};

// Scalar moves go through these, so that they are counted too.
template <class V>
static inline void move_scalar(float* y, const float* x) {
  if constexpr (V::counted) {
    counters->bytes_read += 4;
    counters->bytes_written += 4;
  }
  *y = *x;
}

template <class V>
static inline void store_scalar(float* y, float value) {
  if constexpr (V::counted) counters->bytes_written += 4;
  *y = value;
}
