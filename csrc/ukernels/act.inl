// Activations on a run of floats. The exponential is e^x = 2^n * e^r with |r| <= ln(2)/2 and a degree-6 polynomial
// (Cody-Waite reduction; coefficients 1/k!, error below 2 ulp on the clamped range).

template <class V>
static inline typename V::vec vexp(typename V::vec x) {
  using vec = typename V::vec;
  // Clamped so that 2^n stays a normal number; both limits are far beyond what float32 sums can tell from 0 or inf.
  x = V::min(V::set1(88.0f), V::max(V::set1(-87.0f), x));
  const vec n = V::round(V::mul(x, V::set1(1.44269504088896341f)));
  vec r = V::fma(n, V::set1(-0.693359375f), x);
  r = V::fma(n, V::set1(2.12194440e-4f), r);
  vec p = V::set1(1.0f / 720);
  p = V::fma(p, r, V::set1(1.0f / 120));
  p = V::fma(p, r, V::set1(1.0f / 24));
  p = V::fma(p, r, V::set1(1.0f / 6));
  p = V::fma(p, r, V::set1(0.5f));
  p = V::fma(p, r, V::set1(1.0f));
  p = V::fma(p, r, V::set1(1.0f));
  return V::mul(p, V::pow2(n));
}

template <class V>
static inline typename V::vec vsigmoid(typename V::vec x) {
  return V::div(V::set1(1), V::add(V::set1(1), vexp<V>(V::sub(V::zero(), x))));
}

// tanh(x) = x + x^3 * poly for small x would be exact near 0; 1 - 2 / (e^2x + 1) loses relative accuracy there, so
// small arguments take an odd polynomial (Taylor to x^9, error below 1e-7 for |x| < 0.35) and the rest the exponential.
template <class V>
static inline typename V::vec vtanh(typename V::vec x) {
  using vec = typename V::vec;
  const vec x2 = V::mul(x, x);
  vec p = V::set1(62.0f / 2835);
  p = V::fma(p, x2, V::set1(-17.0f / 315));
  p = V::fma(p, x2, V::set1(2.0f / 15));
  p = V::fma(p, x2, V::set1(-1.0f / 3));
  const vec small = V::fma(V::mul(p, x2), x, x);
  const vec e = vexp<V>(V::add(x, x));
  const vec big = V::sub(V::set1(1), V::div(V::set1(2), V::add(e, V::set1(1))));
  return V::select_lt(x2, V::set1(0.1225f), small, big);
}

template <class V>
struct act_fn {
  using vec = typename V::vec;
  static inline vec relu(vec x, float, float) { return V::max(V::zero(), x); }
  static inline vec relu6(vec x, float, float) { return V::min(V::set1(6), V::max(V::zero(), x)); }
  static inline vec clip(vec x, float lo, float hi) { return V::min(V::set1(hi), V::max(V::set1(lo), x)); }
  static inline vec leaky_relu(vec x, float slope, float) {
    return V::select_lt(x, V::zero(), V::mul(x, V::set1(slope)), x);
  }
  static inline vec sigmoid(vec x, float, float) { return vsigmoid<V>(x); }
  static inline vec tanh(vec x, float, float) { return vtanh<V>(x); }
  static inline vec silu(vec x, float, float) { return V::mul(x, vsigmoid<V>(x)); }
  static inline vec hardsigmoid(vec x, float, float) {
    return V::min(V::set1(1), V::max(V::zero(), V::fma(x, V::set1(1.0f / 6), V::set1(0.5f))));
  }
  static inline vec hardswish(vec x, float, float) { return V::mul(x, hardsigmoid(x, 0, 0)); }
};

template <class V, typename V::vec (*F)(typename V::vec, float, float)>
static void act_row(const ActRow* t) {
  for (int64_t i = 0; i < t->n; i += V::width) {
    const int64_t left = t->n - i;
    V::store_n(t->y + i, F(V::load_n(t->x + i, left), t->param, t->param2), left);
  }
}

template <class V>
static inline void fill_act(KernelTable* t) {
  t->act[(int)Act::relu] = act_row<V, act_fn<V>::relu>;
  t->act[(int)Act::relu6] = act_row<V, act_fn<V>::relu6>;
  t->act[(int)Act::clip] = act_row<V, act_fn<V>::clip>;
  t->act[(int)Act::leaky_relu] = act_row<V, act_fn<V>::leaky_relu>;
  t->act[(int)Act::sigmoid] = act_row<V, act_fn<V>::sigmoid>;
  t->act[(int)Act::tanh] = act_row<V, act_fn<V>::tanh>;
  t->act[(int)Act::silu] = act_row<V, act_fn<V>::silu>;
  t->act[(int)Act::hardswish] = act_row<V, act_fn<V>::hardswish>;
  t->act[(int)Act::hardsigmoid] = act_row<V, act_fn<V>::hardsigmoid>;
}
