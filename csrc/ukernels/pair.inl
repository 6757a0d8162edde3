// Functions of two arrays that do not commute, and powers: pair_rows, three forms of each.
//
// A call computes rows * ceil(n / width) vectors; a lane costs: sub 1 add; div 1 special; min, max 1 max; prelu 1 mul,
// 1 max; pow as vpow says. Bytes: 4 n rows written, 8 n rows read, or 4 (n + 1) rows where one operand is a float a row.

// What log2 and 2^x of a power pass on: numbers in two parts, a head of 12 bits whose products with another are exact,
// and the rest.
template <class V>
struct Parts {
  typename V::vec head, rest;
};

// log2(a) for positive finite a, to about 2^-30 of it. 6 fma, 10 mul, 15 add, 3 max, 1 special.
template <class V>
static inline Parts<V> vlog2_parts(typename V::vec a) {
  using vec = typename V::vec;
  const vec one = V::set1(1), least = V::set1(1.17549435e-38f), root2 = V::set1(1.41421356f);
  const vec x = V::select_lt(a, least, V::mul(a, V::set1(16777216.0f)), a);
  const vec m0 = V::mantissa(x), e0 = V::sub(V::exponent(x), V::select_lt(a, least, V::set1(24), V::zero()));
  // a = 2^e m, m in [sqrt(1/2), sqrt(2)): its exponent rises by one where it is halved.
  const vec up = V::select_lt(m0, root2, V::zero(), one);
  const vec e = V::add(e0, up), m = V::mul(m0, V::fma(up, V::set1(-0.5f), one));
  // log2(m) = 2/ln(2) artanh(s), s = f / g with f = m - 1, exact, and g = m + 1. s in two parts: what s_h leaves of f.
  const vec f = V::sub(m, one), g = V::add(m, one), g_h = V::head(g);
  const vec g_l = V::sub(m, V::sub(g_h, one));
  const vec over = V::div(one, g), s = V::mul(f, over), s_h = V::head(s);
  const vec s_l = V::mul(V::sub(V::sub(f, V::mul(s_h, g_h)), V::mul(s_h, g_l)), over);
  const vec z = V::mul(s, s);
  vec p = V::fma(V::set1(0.1166529477f), z, V::set1(0.1427540922f));  // (artanh(s) / s - 1) / s^2: 1.7e-9
  p = V::fma(p, z, V::set1(0.2000006089f));
  p = V::fma(p, z, V::set1(0.3333333328f));
  const vec tail = V::fma(V::mul(s, z), p, s_l);
  // 2/ln(2) = 2.8847656 + 0.00062441588: the first factor has 12 bits.
  const vec hi = V::mul(s_h, V::set1(2.884765625f));
  const vec lo = V::fma(s_h, V::set1(6.244567779e-4f), V::mul(tail, V::set1(2.88539008f)));
  const vec sum = V::add(e, hi), rest = V::add(V::sub(hi, V::sub(sum, e)), lo);
  const vec head = V::head(V::add(sum, rest));
  return {head, V::add(V::sub(sum, head), rest)};
}

// 2^(l y): l as vlog2_parts gives it. A y beyond 2^40 changes nothing any more.
template <class V>
static inline typename V::vec vexp2_product(Parts<V> l, typename V::vec y) {
  using vec = typename V::vec;
  y = V::min(V::set1(1.09951163e12f), V::max(V::set1(-1.09951163e12f), y));
  const vec y_h = V::head(y), hi = V::mul(y_h, l.head);
  const vec lo = V::fma(y, l.rest, V::mul(V::sub(y, y_h), l.head));
  const vec n = V::round(V::min(V::set1(130), V::max(V::set1(-160), V::add(hi, lo))));
  const vec r = V::add(V::sub(hi, n), lo), in = V::min(V::set1(1), V::max(V::set1(-1), r));
  return vexp_reduced<V>(n, V::mul(in, V::set1(0.693147181f)));
}

// a^y as IEEE 754 has it: 2 ulp; exact signs, zeros, infinities and NaN. 13 fma, 15 mul, 27 add, 21 max,
// 2 special; too long to be inlined three times.
template <class V>
static __attribute__((noinline)) typename V::vec vpow(typename V::vec x, typename V::vec y) {
  using vec = typename V::vec;
  const vec zero = V::zero(), one = V::set1(1), inf = V::set1(__builtin_inff()), tiny = V::set1(1.40129846e-45f);
  const vec a = V::abs(x);
  vec v = vexp2_product<V>(vlog2_parts<V>(a), y);
  // Of 0 and infinity: themselves or their inverse. NaN in either comes through.
  const vec end = V::select_lt(zero, y, a, V::select_lt(y, zero, V::div(one, a), y));
  v = V::select_lt(a, tiny, end, V::select_lt(a, inf, v, end));
  // Negative bases: whole exponents alone, and odd ones keep the sign; of the infinite one any.
  const vec half = V::mul(y, V::set1(0.5f)), part = V::abs(V::sub(y, vnearest<V>(y)));
  const vec odd = V::abs(V::sub(half, vnearest<V>(half)));
  const vec negative = V::select_lt(V::set1(-__builtin_inff()), x, V::set1(__builtin_nanf("")), v);
  const vec whole = V::select_lt(zero, odd, V::with_sign(v, x), v);
  v = V::select_lt(zero, part, V::select_lt(x, zero, negative, v), whole);
  v = V::select_lt(V::abs(y), tiny, one, v);
  return V::select_lt(V::abs(V::sub(x, one)), tiny, one, v);
}

template <class V, int KIND>
static inline typename V::vec pair_of(typename V::vec a, typename V::vec b) {
  if constexpr (KIND == pair_sub)
    return V::sub(a, b);
  else if constexpr (KIND == pair_div)
    return V::div(a, b);
  else if constexpr (KIND == pair_pow)
    return vpow<V>(a, b);
  else if constexpr (KIND == pair_min)
    return V::min_nan(a, b);
  else if constexpr (KIND == pair_max)
    return V::max_nan(a, b);
  else
    return V::select_lt(V::zero(), a, a, V::mul(a, b));
}

template <class V, int KIND, int FORM>
static void pair_rows(const BinaryRows* t) {
  using vec = typename V::vec;
  const int64_t n = t->n, rows = t->rows, a_row = t->a_row, b_row = t->b_row, y_row = t->y_row;
  const float *a = t->a, *b = t->b;
  float* y = t->y;
  for (int64_t r = 0; r < rows; ++r, a += a_row, b += b_row, y += y_row) {
    const vec a0 = FORM == pair_a_once ? V::bcast(a) : V::zero(), b0 = FORM == pair_b_once ? V::bcast(b) : V::zero();
    int64_t i = 0;
#pragma GCC unroll 2
    for (; i + V::width <= n; i += V::width)
      V::store(y + i,
               pair_of<V, KIND>(FORM == pair_a_once ? a0 : V::load(a + i), FORM == pair_b_once ? b0 : V::load(b + i)));
    const int64_t left = n - i;
    if (left > 0)
      V::store_n(y + i,
                 pair_of<V, KIND>(FORM == pair_a_once ? a0 : V::load_n(a + i, left),
                                  FORM == pair_b_once ? b0 : V::load_n(b + i, left)),
                 left);
  }
}

template <class V, int KIND>
static inline void fill_pair(KernelTable* t) {
  t->pair[KIND][pair_both] = pair_rows<V, KIND, pair_both>;
  t->pair[KIND][pair_b_once] = pair_rows<V, KIND, pair_b_once>;
  t->pair[KIND][pair_a_once] = pair_rows<V, KIND, pair_a_once>;
}

template <class V>
static inline void fill_pairs(KernelTable* t) {
  fill_pair<V, pair_sub>(t);
  fill_pair<V, pair_div>(t);
  fill_pair<V, pair_pow>(t);
  fill_pair<V, pair_min>(t);
  fill_pair<V, pair_max>(t);
  fill_pair<V, pair_prelu>(t);
}
