// Vectors at the end of a row: whole ones by plain moves, the last by a masked one. Masked stores are slow on some
// CPUs, so that a row is walked in whole vectors first.

template <class V, bool WHOLE>
static inline typename V::vec get(const float* p, int64_t left) {
  if constexpr (WHOLE)
    return V::load(p);
  else
    return V::load_n(p, left);
}

template <class V, bool WHOLE>
static inline void put(float* p, typename V::vec v, int64_t left) {
  if constexpr (WHOLE)
    V::store(p, v);
  else
    V::store_n(p, v, left);
}
