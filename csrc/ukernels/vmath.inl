// Elementary functions on vectors. Errors are against the exact value, over all float32 arguments, where the result is
// a normal number; NaN in, NaN out. Polynomials are minimax fits in multiple precision (a Remez exchange, the relative
// error named beside each), the exponential's reduction is Cody and Waite's.

// e^x = 2^n e^r with n whole and |r| <= ln(2)/2, from n and r. 1.1e-8 before rounding; 6 fma, 1 mul.
template <class V>
static inline typename V::vec vexp_reduced(typename V::vec n, typename V::vec r) {
  typename V::vec p = V::set1(0.001381446706f);  // (e^r - 1 - r) / r^2: 3e-9
  p = V::fma(p, r, V::set1(0.008368780411f));
  p = V::fma(p, r, V::set1(0.04166839421f));
  p = V::fma(p, r, V::set1(0.1666652011f));
  p = V::fma(p, r, V::set1(0.4999999341f));
  p = V::fma(p, r, V::set1(1.0f));
  p = V::fma(p, r, V::set1(1.0f));
  return V::scale2(p, n);
}

// x - n ln(2), in two parts of which the first product is exact. 2 fma.
template <class V>
static inline typename V::vec vexp_rest(typename V::vec x, typename V::vec n) {
  return V::fma(n, V::set1(2.12194440e-4f), V::fma(n, V::set1(-0.693359375f), x));
}

// e^x: 1 ulp (2 without a fused multiply-add). 8 fma, 2 mul, 1 add, 2 max.
template <class V>
static inline typename V::vec vexp(typename V::vec x) {
  // Beyond the limits the result is 0 or inf, as it is at them.
  x = V::min(V::set1(89.0f), V::max(V::set1(-104.0f), x));
  const typename V::vec n = V::round(V::mul(x, V::set1(1.44269504088896341f)));
  return vexp_reduced<V>(n, vexp_rest<V>(x, n));
}

// ln(x) for normal positive x, inf and NaN: 3 ulp. 5 fma, 3 mul, 3 add, 3 max, 1 special.
template <class V>
static inline typename V::vec vlog(typename V::vec x) {
  using vec = typename V::vec;
  const vec one = V::set1(1), e0 = V::exponent(x), m0 = V::mantissa(x), root2 = V::set1(1.41421356f);
  const vec e = V::select_lt(m0, root2, e0, V::add(e0, one));
  const vec m = V::select_lt(m0, root2, m0, V::mul(m0, V::set1(0.5f)));
  // ln(m) = 2 artanh(s), odd in s = (m - 1) / (m + 1): 8e-10
  const vec s = V::div(V::sub(m, one), V::add(m, one)), z = V::mul(s, s);
  vec p = V::fma(V::set1(0.2987307323f), z, V::set1(0.3997749558f));
  p = V::fma(p, z, V::set1(0.6666677672f));
  p = V::fma(p, z, V::set1(2.0f));
  const vec low = V::fma(e, V::set1(-2.12194440e-4f), V::mul(p, s));
  const vec y = V::fma(e, V::set1(0.693359375f), low);
  return V::select_lt(x, V::set1(__builtin_inff()), y, x);
}

// 1 / (1 + e^-x): 3 ulp, the lower tail included. vexp, 1 add, 1 max, 1 special.
template <class V>
static inline typename V::vec vsigmoid(typename V::vec x) {
  const typename V::vec one = V::set1(1), e = vexp<V>(V::with_sign(x, V::set1(-1)));
  return V::div(V::select_lt(x, V::zero(), e, one), V::add(one, e));
}

// x / (1 + e^-x): 3 ulp; where e^-x is too large, below -88.7, zero for what is nearer to it than 3e-37. vexp, 2 add,
// 1 special.
template <class V>
static inline typename V::vec vsilu(typename V::vec x) {
  return V::div(x, V::add(V::set1(1), vexp<V>(V::sub(V::zero(), x))));
}

// tanh(x): 2 ulp. vexp, 5 fma, 3 mul, 2 add, 1 max, 1 special.
template <class V>
static inline typename V::vec vtanh(typename V::vec x) {
  using vec = typename V::vec;
  const vec a = V::abs(x), z = V::mul(a, a), one = V::set1(1);
  vec p = V::set1(-0.005717045059f);  // (tanh(a) - a) / a^3 below 0.625, where 1 - e^-2a cancels: 4e-9
  p = V::fma(p, z, V::set1(0.0206505873f));
  p = V::fma(p, z, V::set1(-0.05374349808f));
  p = V::fma(p, z, V::set1(0.1333149129f));
  p = V::fma(p, z, V::set1(-0.3333328393f));
  const vec small = V::fma(V::mul(a, z), p, a);
  const vec e = vexp<V>(V::mul(a, V::set1(-2)));
  const vec large = V::div(V::sub(one, e), V::add(one, e));
  return V::with_sign(V::select_lt(a, V::set1(0.625f), small, large), x);
}

// Phi(-a), the upper tail of the normal distribution, for a >= 0: e^(-a^2/2) R(a), R a ratio of polynomials with positive
// coefficients (6e-9 on [0, 15], where the tail ends in zero), so nothing cancels. a^2/2 would lose e^(..) its last
// digits: its head is exact, the rest joins r. 17 fma, 7 mul, 5 add, 1 max, 1 special.
template <class V>
static inline typename V::vec vnormal_tail(typename V::vec x) {
  using vec = typename V::vec;
  const vec a = V::min(V::set1(15), x), h = V::head(a), half = V::set1(-0.5f);
  const vec hi = V::mul(V::mul(h, half), h), lo = V::mul(V::mul(V::sub(a, h), half), V::add(a, h));
  const vec n = V::round(V::mul(V::add(hi, lo), V::set1(1.44269504088896341f)));
  const vec e = vexp_reduced<V>(n, V::add(vexp_rest<V>(hi, n), lo));
  vec p = V::fma(V::set1(0.004153072417f), a, V::set1(0.04088017002f));
  p = V::fma(p, a, V::set1(0.1839664454f));
  p = V::fma(p, a, V::set1(0.4392800242f));
  p = V::fma(p, a, V::set1(0.5000000031f));
  vec q = V::fma(V::set1(0.01041009707f), a, V::set1(0.1024775071f));
  q = V::fma(q, a, V::set1(0.471401542f));
  q = V::fma(q, a, V::set1(1.205537464f));
  q = V::fma(q, a, V::set1(1.676445055f));
  q = V::fma(q, a, V::set1(1.0f));
  return V::div(V::mul(e, p), q);
}

// x Phi(x) = x/2 (1 + erf(x / sqrt 2)): 6 ulp. The tail, 1 mul, 1 add, 1 max.
template <class V>
static inline typename V::vec vgelu(typename V::vec x) {
  const typename V::vec tail = vnormal_tail<V>(V::abs(x));
  return V::mul(x, V::select_lt(x, V::zero(), tail, V::sub(V::set1(1), tail)));
}
