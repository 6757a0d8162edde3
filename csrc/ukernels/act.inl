// Activations on rows of floats: act_row, one form per function.
//
// A call moves 4 n rows bytes in and as many out. It computes rows * ceil(n / width) vectors, each lane of which costs:
//   relu 1 max; relu6, clip 2 max; leaky_relu 1 mul, 1 max; hardsigmoid 1 mul, 1 add, 2 max; hardswish 2 mul, 1 add, 2 max
//   sigmoid 8 fma, 2 mul, 2 add, 3 max, 1 special; silu 8 fma, 2 mul, 3 add, 2 max, 1 special
//   tanh 13 fma, 5 mul, 3 add, 3 max, 1 special; gelu 17 fma, 8 mul, 6 add, 2 max, 1 special
// NaN in, NaN out; at -inf silu, hardswish and gelu are -inf * 0 = NaN, as their formulas say.

template <class V>
static inline typename V::vec act_relu(typename V::vec x, float, float) {
  return V::max(V::zero(), x);
}
template <class V>
static inline typename V::vec act_relu6(typename V::vec x, float, float) {
  return V::min(V::set1(6), V::max(V::zero(), x));
}
template <class V>
static inline typename V::vec act_clip(typename V::vec x, float lo, float hi) {
  return V::min(V::set1(hi), V::max(V::set1(lo), x));
}
template <class V>
static inline typename V::vec act_leaky_relu(typename V::vec x, float slope, float) {
  return V::select_lt(x, V::zero(), V::mul(x, V::set1(slope)), x);
}
template <class V>
static inline typename V::vec act_sigmoid(typename V::vec x, float, float) {
  return vsigmoid<V>(x);
}
template <class V>
static inline typename V::vec act_tanh(typename V::vec x, float, float) {
  return vtanh<V>(x);
}
template <class V>
static inline typename V::vec act_silu(typename V::vec x, float, float) {
  return vsilu<V>(x);
}
template <class V>
static inline typename V::vec act_hardsigmoid(typename V::vec x, float, float) {
  return V::mul(V::min(V::set1(6), V::max(V::zero(), V::add(x, V::set1(3)))), V::set1(1.0f / 6));
}
template <class V>
static inline typename V::vec act_hardswish(typename V::vec x, float, float) {
  return V::mul(x, act_hardsigmoid<V>(x, 0, 0));
}
template <class V>
static inline typename V::vec act_gelu(typename V::vec x, float, float) {
  return vgelu<V>(x);
}

template <class V, typename V::vec (*F)(typename V::vec, float, float)>
static void act_row(const ActRow* t) {
  for (int64_t r = 0; r < t->rows; ++r) {
    const float* x = t->x + r * t->x_row;
    float* y = t->y + r * t->y_row;
    int64_t i = 0;
    for (; i + V::width <= t->n; i += V::width) V::store(y + i, F(V::load(x + i), t->param, t->param2));
    if (i < t->n) V::store_n(y + i, F(V::load_n(x + i, t->n - i), t->param, t->param2), t->n - i);
  }
}

template <class V>
static inline void fill_act(KernelTable* t) {
  t->act[(int)Act::relu] = act_row<V, act_relu<V>>;
  t->act[(int)Act::relu6] = act_row<V, act_relu6<V>>;
  t->act[(int)Act::clip] = act_row<V, act_clip<V>>;
  t->act[(int)Act::leaky_relu] = act_row<V, act_leaky_relu<V>>;
  t->act[(int)Act::sigmoid] = act_row<V, act_sigmoid<V>>;
  t->act[(int)Act::tanh] = act_row<V, act_tanh<V>>;
  t->act[(int)Act::silu] = act_row<V, act_silu<V>>;
  t->act[(int)Act::hardswish] = act_row<V, act_hardswish<V>>;
  t->act[(int)Act::hardsigmoid] = act_row<V, act_hardsigmoid<V>>;
  t->act[(int)Act::gelu] = act_row<V, act_gelu<V>>;
}
