"""The operators that a bundle's program may call: those that the exports of this project write.

None of them reaches beyond the tensors that it is given. After its name stands what it is handed,
in ATen's order, and then, of most, the place for what it returns:

| word | value |
|---|---|
| `tensor`, `tensors` | a tensor, a list of tensors |
| `out`, `outs` | the same, which is written to |
| `same` | what is written to, once more |
| `int`, `float`, `bool`, `text` | one of these |
| `number` | int, float or bool |
| `ints` | a list of ints |
| with `?` | or nothing |
"""

__all__ = ["OPERATORS"]

_HANDED = """
aten::_log_softmax.out tensor int bool out same
aten::_softmax.out tensor int bool out same
aten::_to_copy.out tensor bool int? out same
aten::abs.out tensor out same
aten::add.out tensor tensor number out same
aten::addmm.out tensor tensor tensor number number out same
aten::alias_copy.out tensor out same
aten::amax.out tensor ints bool out same
aten::amin.out tensor ints bool out same
aten::any.out tensor int bool out same
aten::arange.start_out number number number out same
aten::argmax.out tensor int? bool out same
aten::argmin.out tensor int? bool out same
aten::bitwise_and.Tensor_out tensor tensor out same
aten::bitwise_not.out tensor out same
aten::bmm.out tensor tensor out same
aten::cat.out tensors int out same
aten::clamp.out tensor number? number? out same
aten::clone.out tensor int? out same
aten::constant_pad_nd.out tensor ints number out same
aten::copy_ out tensor bool same
aten::cos.out tensor out same
aten::div.Scalar_out tensor number out same
aten::div.out tensor tensor out same
aten::eq.Scalar_out tensor number out same
aten::eq.Tensor_out tensor tensor out same
aten::erf.out tensor out same
aten::exp.out tensor out same
aten::expand_copy.out tensor ints bool out same
aten::full.out ints number out same
aten::full_like.out tensor number int? out same
aten::ge.Scalar_out tensor number out same
aten::ge.Tensor_out tensor tensor out same
aten::gelu.out tensor text out same
aten::gt.Scalar_out tensor number out same
aten::gt.Tensor_out tensor tensor out same
aten::index_select.out tensor int tensor out same
aten::le.Scalar_out tensor number out same
aten::le.Tensor_out tensor tensor out same
aten::log.out tensor out same
aten::logical_and.out tensor tensor out same
aten::logical_not.out tensor out same
aten::logical_or.out tensor tensor out same
aten::lt.Scalar_out tensor number out same
aten::lt.Tensor_out tensor tensor out same
aten::maximum.out tensor tensor out same
aten::mean.out tensor ints? bool int? out same
aten::minimum.out tensor tensor out same
aten::mm.out tensor tensor out same
aten::mul.Scalar_out tensor number out same
aten::mul.out tensor tensor out same
aten::ne.Scalar_out tensor number out same
aten::ne.Tensor_out tensor tensor out same
aten::neg.out tensor out same
aten::permute_copy.out tensor ints out same
aten::pow.Scalar_out number tensor out same
aten::pow.Tensor_Scalar_out tensor number out same
aten::reciprocal.out tensor out same
aten::relu.out tensor out same
aten::rsqrt.out tensor out same
aten::scalar_tensor.out number out same
aten::select_copy.int_out tensor int int out same
aten::sigmoid.out tensor out same
aten::sin.out tensor out same
aten::slice_copy.Tensor_out tensor int int? int? int out same
aten::slice_scatter.out tensor tensor int int? int? int out same
aten::split_with_sizes_copy.out tensor ints int outs outs
aten::sqrt.out tensor out same
aten::squeeze_copy.dims_out tensor ints out same
aten::sub.out tensor tensor number out same
aten::sum.IntList_out tensor ints? bool int? out same
aten::sym_size.int tensor int int
aten::tanh.out tensor out same
aten::unsqueeze_copy.out tensor int out same
aten::where.self_out tensor tensor tensor out same
executorch_prim::add.Scalar int int int
executorch_prim::eq.Scalar int int bool
executorch_prim::et_copy_index.tensor out tensor int
executorch_prim::et_view.default tensor ints out
executorch_prim::sub.Scalar int int int
quantized_decomposed::dequantize_per_tensor.out tensor float int int int int int? out same
quantized_decomposed::quantize_per_tensor.out tensor float int int int int out same
"""

OPERATORS: dict[str, tuple[str, ...]] = {
    name: tuple(handed) for name, *handed in map(str.split, _HANDED.strip().splitlines())
}
