// Functions of one array that are no fused activations: unary_row, one form per function.
//
// A call moves 4 n rows bytes in and as many out. It computes rows * ceil(n / width) vectors; what a lane costs stands
// with each function. NaN in, NaN out; infinities go as the formula says.

// Half to even: a float from 2^23 on is whole, and below that adding 2^23 leaves no digits behind the point. 2 add, 1 max.
template <class V>
static inline typename V::vec vnearest(typename V::vec x) {
  const typename V::vec a = V::abs(x), whole = V::set1(8388608.0f);
  return V::with_sign(V::select_lt(a, whole, V::sub(V::add(a, whole), whole), a), x);
}

// ln(x) of any float: denormals are scaled first. vlog, 1 mul, 1 add, 4 max.
template <class V>
static inline typename V::vec vlog_any(typename V::vec x) {
  using vec = typename V::vec;
  const vec least = V::set1(1.17549435e-38f);
  const vec scaled = V::select_lt(x, least, V::mul(x, V::set1(16777216.0f)), x);
  const vec shift = V::select_lt(x, least, V::set1(-16.635532333f), V::zero());
  const vec y = V::add(vlog<V>(scaled), shift);
  const vec positive = V::select_lt(V::abs(x), V::set1(1.40129846e-45f), V::set1(-__builtin_inff()), y);
  return V::select_lt(x, V::zero(), V::set1(__builtin_nanf("")), positive);
}

// ln(1 + u) for 0 <= u <= 1: 3 ulp. 1 + u is never formed: ln(1 + u) = 2 artanh(u / (2 + u)), from sqrt(2) - 1 on with
// ln(2) taken out, which leaves s = (u - 1) / (u + 3). 4 fma, 2 mul, 3 add, 1 max, 1 special.
template <class V>
static inline typename V::vec vlog1p(typename V::vec u) {
  using vec = typename V::vec;
  const vec base = V::select_lt(u, V::set1(0.414213562f), V::zero(), V::set1(1));
  const vec s = V::div(V::sub(u, base), V::add(V::add(u, V::set1(2)), base)), z = V::mul(s, s);
  vec p = V::fma(V::set1(0.29925653f), z, V::set1(0.3997479484f));  // 2 artanh(s) / s: 7e-10
  p = V::fma(p, z, V::set1(0.6666681595f));
  p = V::fma(p, z, V::set1(2.0f));
  return V::fma(base, V::set1(0.693147181f), V::mul(p, s));
}

// e^x - 1: 2 ulp. With e^x = 2^n e^r it is 2^n ((e^r - 1) + (1 - 2^-n)), whose parts do not cancel; below -25 it is -1.
// 7 fma, 4 mul, 4 add, 2 max.
template <class V>
static inline typename V::vec vexpm1(typename V::vec x) {
  using vec = typename V::vec;
  x = V::min(V::set1(89.0f), V::max(V::set1(-25.0f), x));
  const vec n = V::round(V::mul(x, V::set1(1.44269504088896341f))), r = vexp_rest<V>(x, n);
  vec p = V::fma(V::set1(0.001381446706f), r, V::set1(0.008368780411f));  // (e^r - 1 - r) / r^2, as in vexp_reduced
  p = V::fma(p, r, V::set1(0.04166839421f));
  p = V::fma(p, r, V::set1(0.1666652011f));
  p = V::fma(p, r, V::set1(0.4999999341f));
  const vec part = V::fma(V::mul(p, r), r, r), power = V::scale2(V::set1(1), V::sub(V::zero(), n));
  return V::scale2(V::add(part, V::sub(V::set1(1), power)), n);
}

// 1 add
template <class V>
static inline typename V::vec un_neg(typename V::vec x, float, float) {
  return V::sub(V::set1(-0.0f), x);
}
// nothing that counts
template <class V>
static inline typename V::vec un_abs(typename V::vec x, float, float) {
  return V::abs(x);
}
// 2 max
template <class V>
static inline typename V::vec un_sign(typename V::vec x, float, float) {
  return V::select_lt(V::zero(), x, V::set1(1), V::select_lt(x, V::zero(), V::set1(-1), x));
}
// 3 add, 2 max
template <class V>
static inline typename V::vec un_floor(typename V::vec x, float, float) {
  const typename V::vec r = vnearest<V>(x);
  return V::select_lt(x, r, V::sub(r, V::set1(1)), r);
}
// 3 add, 2 max
template <class V>
static inline typename V::vec un_ceil(typename V::vec x, float, float) {
  const typename V::vec r = vnearest<V>(x);
  return V::with_sign(V::select_lt(r, x, V::add(r, V::set1(1)), r), x);
}
// 2 add, 1 max
template <class V>
static inline typename V::vec un_round(typename V::vec x, float, float) {
  return vnearest<V>(x);
}
// 1 special
template <class V>
static inline typename V::vec un_sqrt(typename V::vec x, float, float) {
  return V::sqrt(x);
}
// 1 special
template <class V>
static inline typename V::vec un_reciprocal(typename V::vec x, float, float) {
  return V::div(V::set1(1), x);
}
// 8 fma, 2 mul, 1 add, 2 max
template <class V>
static inline typename V::vec un_exp(typename V::vec x, float, float) {
  return vexp<V>(x);
}
// 5 fma, 4 mul, 4 add, 7 max, 1 special
template <class V>
static inline typename V::vec un_log(typename V::vec x, float, float) {
  return vlog_any<V>(x);
}
// erf(x): 5 ulp; near zero x P(x^2) (1.4e-9), beyond 1/2 one less two tails. 22 fma, 10 mul, 5 add, 2 max, 1 special
template <class V>
static inline typename V::vec un_erf(typename V::vec x, float, float) {
  using vec = typename V::vec;
  const vec a = V::abs(x), z = V::mul(a, a);
  vec p = V::fma(V::set1(0.004717990074f), z, V::set1(-0.02675718427f));
  p = V::fma(p, z, V::set1(0.1128282281f));
  p = V::fma(p, z, V::set1(-0.3761260857f));
  p = V::fma(p, z, V::set1(1.128379166f));
  const vec tail = vnormal_tail<V>(V::mul(a, V::set1(1.41421356f)));
  return V::with_sign(V::select_lt(a, V::set1(0.5f), V::mul(p, a), V::fma(tail, V::set1(-2), V::set1(1))), x);
}
// 1 fma
template <class V>
static inline typename V::vec un_affine(typename V::vec x, float a, float b) {
  return V::fma(x, V::set1(a), V::set1(b));
}
// 1 fma, 2 max
template <class V>
static inline typename V::vec un_hardsigmoid(typename V::vec x, float a, float b) {
  return V::min(V::set1(1), V::max(V::zero(), V::fma(x, V::set1(a), V::set1(b))));
}
// vexpm1, 1 mul, 2 max
template <class V>
static inline typename V::vec un_elu(typename V::vec x, float a, float) {
  return V::select_lt(V::zero(), x, x, V::mul(V::set1(a), vexpm1<V>(V::min(V::zero(), x))));
}
// vexpm1, 2 mul, 2 max
template <class V>
static inline typename V::vec un_selu(typename V::vec x, float a, float b) {
  return V::mul(V::set1(b), un_elu<V>(x, a, 0));
}
// vexpm1, 1 mul, 2 max, 1 special
template <class V>
static inline typename V::vec un_celu(typename V::vec x, float a, float) {
  const typename V::vec scaled = V::div(V::min(V::zero(), x), V::set1(a));
  return V::select_lt(V::zero(), x, x, V::mul(V::set1(a), vexpm1<V>(scaled)));
}
// x < a: 0, so that a NaN stays one. 1 max
template <class V>
static inline typename V::vec un_thresholded_relu(typename V::vec x, float a, float) {
  return V::select_lt(x, V::set1(a), V::zero(), x);
}
// max(x, 0) + ln(1 + e^-|x|). 12 fma, 4 mul, 5 add, 4 max, 1 special
template <class V>
static inline typename V::vec un_softplus(typename V::vec x, float, float) {
  const typename V::vec rest = vlog1p<V>(vexp<V>(V::with_sign(x, V::set1(-1))));
  return V::add(V::max(V::zero(), x), rest);
}
// 1 add, 1 special
template <class V>
static inline typename V::vec un_softsign(typename V::vec x, float, float) {
  return V::div(x, V::add(V::set1(1), V::abs(x)));
}
// With w = e^x, tanh(ln(1 + w)) = n / (n + 2), n = w (w + 2); it is 1 from 20 on. 8 fma, 4 mul, 3 add, 3 max, 1 special
template <class V>
static inline typename V::vec un_mish(typename V::vec x, float, float) {
  const typename V::vec w = vexp<V>(V::min(V::set1(20), x)), n = V::mul(w, V::add(w, V::set1(2)));
  return V::mul(x, V::div(n, V::add(n, V::set1(2))));
}
// x / (1 + e^-2v), v = sqrt(2/pi) (x + 0.044715 x^3). 9 fma, 4 mul, 2 add, 2 max, 1 special
template <class V>
static inline typename V::vec un_gelu_tanh(typename V::vec x, float, float) {
  const typename V::vec p = V::fma(V::mul(x, x), V::set1(-0.0713548163f), V::set1(-1.59576912f));
  return V::div(x, V::add(V::set1(1), vexp<V>(V::mul(x, p))));
}
// 8 fma, 3 mul, 2 add, 2 max, 1 special
template <class V>
static inline typename V::vec un_swish(typename V::vec x, float a, float) {
  return V::div(x, V::add(V::set1(1), vexp<V>(V::mul(x, V::set1(-a)))));
}

template <class V, typename V::vec (*F)(typename V::vec, float, float)>
static void unary_row(const ActRow* t) {
  const int64_t n = t->n, rows = t->rows;
  const float a = t->param, b = t->param2;
  for (int64_t r = 0; r < rows; ++r) {
    const float* x = t->x + r * t->x_row;
    float* y = t->y + r * t->y_row;
    int64_t i = 0;
    for (; i + V::width <= n; i += V::width) V::store(y + i, F(V::load(x + i), a, b));
    if (i < n) V::store_n(y + i, F(V::load_n(x + i, n - i), a, b), n - i);
  }
}

template <class V>
static inline void fill_unary(KernelTable* t) {
  t->unary[(int)Unary::neg] = unary_row<V, un_neg<V>>;
  t->unary[(int)Unary::abs] = unary_row<V, un_abs<V>>;
  t->unary[(int)Unary::sign] = unary_row<V, un_sign<V>>;
  t->unary[(int)Unary::floor] = unary_row<V, un_floor<V>>;
  t->unary[(int)Unary::ceil] = unary_row<V, un_ceil<V>>;
  t->unary[(int)Unary::round] = unary_row<V, un_round<V>>;
  t->unary[(int)Unary::sqrt] = unary_row<V, un_sqrt<V>>;
  t->unary[(int)Unary::reciprocal] = unary_row<V, un_reciprocal<V>>;
  t->unary[(int)Unary::exp] = unary_row<V, un_exp<V>>;
  t->unary[(int)Unary::log] = unary_row<V, un_log<V>>;
  t->unary[(int)Unary::erf] = unary_row<V, un_erf<V>>;
  t->unary[(int)Unary::affine] = unary_row<V, un_affine<V>>;
  t->unary[(int)Unary::clip] = t->act[(int)Act::clip];
  t->unary[(int)Unary::hardsigmoid] = unary_row<V, un_hardsigmoid<V>>;
  t->unary[(int)Unary::elu] = unary_row<V, un_elu<V>>;
  t->unary[(int)Unary::selu] = unary_row<V, un_selu<V>>;
  t->unary[(int)Unary::celu] = unary_row<V, un_celu<V>>;
  t->unary[(int)Unary::thresholded_relu] = unary_row<V, un_thresholded_relu<V>>;
  t->unary[(int)Unary::softplus] = unary_row<V, un_softplus<V>>;
  t->unary[(int)Unary::softsign] = unary_row<V, un_softsign<V>>;
  t->unary[(int)Unary::mish] = unary_row<V, un_mish<V>>;
  t->unary[(int)Unary::gelu_tanh] = unary_row<V, un_gelu_tanh<V>>;
  t->unary[(int)Unary::swish] = unary_row<V, un_swish<V>>;
}
