"""A trunk in whole numbers for Arm's compilers, which know what PyTorch's own PT2E writes.

Weights have 8 bits, activations 16. Functions such as exp Arm computes from a table of 513 entries
over the range of their input, with straight lines between them.
"""

import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace

import torch
import torch.fx.traceback
from executorch.backends.arm.common.arm_compile_spec import ArmCompileSpec
from executorch.backends.arm.quantizer import TOSAQuantizer, get_symmetric_quantization_config
from executorch.backends.arm.quantizer.arm_quantizer_utils import NodeFinder
from executorch.backends.arm.quantizer.quantization_config import TOSAQuantizationConfig
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.fx import GraphModule, Interpreter, Node
from torchao.quantization.pt2e import MinMaxObserver
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
from torchao.quantization.pt2e.quantizer import (
    FixedQParamsQuantizationSpec,
    QuantizationSpec,
    QuantizationSpecBase,
)

from cbpnet.host.errors import InputError
from cbpnet.method.feature_names import check_prepared
from mobile.targets.backend import Calibration
from quantize.aten_decompositions import ATEN_DECOMPOSITIONS
from quantize.integer import BEND, integer_form
from quantize.static_int8 import Prefixes, calibrate
from quantize.trunk import FrozenTrunk

__all__ = ["INT8", "INT16", "IntegerTrunk", "RoundedTrunk", "configuration"]

_ATEN = torch.ops.aten

_INT16_MAX = 32767
_LEAST_SCALE = 2.0**-40
# Beyond what was seen: of a reciprocal a table gives up to 1.125, on a chord from x to 2 x.
_ROOM = 1.25
# Of the prompts that were drawn: those that are learnt agree with each other, and so give larger
# scores than drawn ones of their size.
_GROWTH = 8.0
_LEAST_EXPONENT = -12.0  # exp of it is a fifth of what 16 bits hold beside exp(0)
_FAR = 32.0  # A table whose inputs reach further has steps in which a GELU bends too much.


class RoundedTrunk:
    """Computes a trunk's features as a quantiser rounds them, simulated; traced, it is lowered.

    ``form`` is the trunk in fp32 and in the operators that are rounded, ``quantiser`` makes a new
    one. Ranges are those of ``calibration``; prefixes stand before the same layers as in it ever
    after.

    Attributes:
        dim: width D of the features.
        features, logits: see `FrozenTrunk`.
    """

    def __init__(
        self,
        form: FrozenTrunk,
        quantiser: Callable[[], TOSAQuantizer],
        calibration: Calibration,
    ) -> None:
        self.dim, self.micro_batch = form.dim, calibration.micro_batch
        self.features, self.logits = form.features, form.logits
        images = torch.cat(list(calibration.batches))
        given: dict[tuple[int, ...], list[tuple[Tensor, ...]]] = {}
        for prefixes in calibration.passes:
            given.setdefault(_layers(prefixes), []).extend(self._batches(images, prefixes))
        self.graphs = {
            layers: _quantised(_captured(form, layers, batches[0]), quantiser, batches)
            for layers, batches in given.items()
        }

    def __call__(self, images: Tensor, prefixes: Prefixes = None) -> Tensor:
        """Return features [B, D]; see `Backbone.forward`.

        Raises InputError for prefixes of other layers than were calibrated.
        """
        return self.parts(images, prefixes, ("pooled",))[0]

    def parts(self, images: Tensor, prefixes: Prefixes, names: Sequence[str]) -> list[Tensor]:
        """Return several features [B, d]; see `FrozenTrunk.parts`.

        Raises InputError for prefixes of other layers than were calibrated, and for a name that is
        not among the form's features.
        """
        check_prepared(names, self.features)
        graph = self.graphs.get(_layers(prefixes))
        if graph is None:
            raise InputError(
                f"prefixes stand before the layers {list(_layers(prefixes))}; calibrated were "
                f"{' and '.join(str(list(layers)) for layers in self.graphs)}"
            )
        batches = [_run(graph, batch) for batch in self._batches(images, prefixes)]
        found = dict(zip(self.features, zip(*batches, strict=True), strict=True))
        if len(images) == self.micro_batch:
            return [found[name][0] for name in names]
        return [torch.cat(found[name])[: len(images)] for name in names]

    def _batches(self, images: Tensor, prefixes: Prefixes) -> Iterator[tuple[Tensor, ...]]:
        """Yield a graph's inputs for ``micro_batch`` images a time; the last may come twice."""
        count = len(images)
        given = [images]
        for layer in _layers(prefixes):
            prefix = (prefixes or {})[layer]
            given.append(prefix if len(prefix) == count else prefix.expand(count, -1, -1, -1))
        if count == self.micro_batch:
            yield tuple(given)
            return
        missing = -count % self.micro_batch
        given = [torch.cat([v, v[-1:].expand(missing, *v.shape[1:])]) for v in given]
        yield from zip(*(value.split(self.micro_batch) for value in given), strict=True)


class IntegerTrunk(RoundedTrunk):
    """Computes a trunk's features in whole numbers; see `RoundedTrunk`.

    ``spec`` is the compiler's. Inputs of the operators ``narrow`` have 8 bits. Ranges hold prompts
    of eight times the size of those in ``calibration`` too.

    Raises InputError where there is no image.
    """

    def __init__(
        self,
        trunk: FrozenTrunk,
        spec: ArmCompileSpec,
        calibration: Calibration,
        narrow: Collection[OpOverload] = (),
    ) -> None:
        passes = calibration.passes
        ranges = calibrate(trunk, calibration.batches, passes)
        far = [name for name in trunk.layers if _reaches_far(name, ranges[f"{name}.output"].high)]
        super().__init__(
            integer_form(trunk, far),
            lambda: _integer_quantiser(spec, narrow),
            replace(calibration, passes=[*passes, *map(_grown, filter(None, passes))]),
        )


def _reaches_far(layer: str, high: float) -> bool:
    return layer.endswith(".fc1") and high > _FAR


def _grown(prefixes: Mapping[int, Tensor]) -> Prefixes:
    return {layer: _GROWTH * prefix for layer, prefix in prefixes.items()}


def _layers(prefixes: Prefixes) -> tuple[int, ...]:
    return tuple(sorted(prefixes or {}))


def _run(graph: GraphModule, given: Sequence[Tensor]) -> Sequence[Tensor]:
    with torch.fx.traceback.preserve_node_meta():  # by which Arm's exporter knows what it rounded
        features: Sequence[Tensor] = Interpreter(graph).run(*given)
    return features


class _Positional(nn.Module):
    """A trunk that takes its prefixes by position."""

    def __init__(self, trunk: FrozenTrunk, layers: Sequence[int]) -> None:
        super().__init__()
        self.trunk, self.layers = trunk, layers

    def forward(self, images: Tensor, *prefixes: Tensor) -> list[Tensor]:
        given = dict(zip(self.layers, prefixes, strict=True))
        return self.trunk.parts(images, given, self.trunk.features)


def _captured(form: FrozenTrunk, layers: Sequence[int], given: tuple[Tensor, ...]) -> GraphModule:
    """Return a trunk's graph in PyTorch's own operators, without copies."""
    with torch.no_grad(), warnings.catch_warnings(action="ignore"):
        exported = torch.export.export(_Positional(form, layers), given, strict=False)
        program = exported.run_decompositions(ATEN_DECOMPOSITIONS)
        graph: GraphModule = program.module(check_guards=False)
    for node in graph.graph.nodes:
        if node.target is _ATEN.clone.default:
            node.replace_all_uses_with(node.all_input_nodes[0])
        elif node.target is _ATEN._unsafe_view.default:
            node.target = _ATEN.view_copy.default
    graph.graph.eliminate_dead_code()
    graph.recompile()
    return graph


def _quantised(
    graph: GraphModule,
    quantiser: Callable[[], TOSAQuantizer],
    batches: Sequence[tuple[Tensor, ...]],
) -> GraphModule:
    """Return a graph that is rounded by the ranges that its tensors have on ``batches``."""
    with torch.no_grad(), warnings.catch_warnings(action="ignore"):
        prepared = prepare_pt2e(graph, quantiser())
        for given in batches:
            prepared(*given)
        converted: GraphModule = convert_pt2e(prepared)
    return converted


def _integer_quantiser(spec: ArmCompileSpec, narrow: Collection[OpOverload]) -> TOSAQuantizer:
    """Return what rounds everything to 16 bits, and what ``narrow`` operators read to 8."""
    quantiser = TOSAQuantizer(spec).set_global(configuration(INT16, INT16))
    for operator in narrow:
        quantiser.set_node_target(operator, configuration(INT8, INT16))
    quantiser.set_node_finder(configuration(_fixed(BEND), INT16), _Finder(_is_far_gelu))
    quantiser.set_node_finder(configuration(INT16, _fixed(-_LEAST_EXPONENT)), _Finder(_is_exponent))
    return quantiser


class _Finder(NodeFinder):  # type: ignore[misc]  # executorch has no types
    def __init__(self, wanted: Callable[[Node], bool]) -> None:
        self.wanted = wanted

    def find_nodes(self, model: GraphModule) -> Iterator[Node]:
        return filter(self.wanted, model.graph.nodes)


def _is_far_gelu(node: Node) -> bool:
    """Return whether a node is a GELU of what was clamped to where it bends."""
    return (
        node.target is _ATEN.gelu.default and node.all_input_nodes[0].target is _ATEN.clamp.default
    )


def _is_exponent(node: Node) -> bool:
    """Return whether the exponential of a node is taken, a score less the largest."""
    return any(user.target is _ATEN.exp.default for user in node.users)


class _Roomy(MinMaxObserver):  # type: ignore[misc]
    """Finds a range with room beyond what it saw."""

    def calculate_qparams(self) -> tuple[Tensor, Tensor]:
        """Return scale and zero point."""
        scale, zero_point = super().calculate_qparams()
        return scale * _ROOM, zero_point


def _fixed(furthest: float) -> FixedQParamsQuantizationSpec:
    """Return 16 bits between ``-furthest`` and ``furthest``; all beyond becomes these."""
    return FixedQParamsQuantizationSpec(
        dtype=torch.int16,
        scale=furthest / _INT16_MAX,
        zero_point=0,
        quant_min=-_INT16_MAX,
        quant_max=_INT16_MAX,
        qscheme=torch.per_tensor_symmetric,
    )


INT16 = QuantizationSpec(
    dtype=torch.int16,
    quant_min=-_INT16_MAX,
    quant_max=_INT16_MAX,
    qscheme=torch.per_tensor_symmetric,
    observer_or_fake_quant_ctr=_Roomy.with_args(eps=_LEAST_SCALE),
)
INT8 = QuantizationSpec(
    dtype=torch.int8,
    quant_min=-128,
    quant_max=127,
    qscheme=torch.per_tensor_affine,
    observer_or_fake_quant_ctr=MinMaxObserver.with_args(eps=_LEAST_SCALE),
)


def configuration(
    given: QuantizationSpecBase, result: QuantizationSpecBase
) -> TOSAQuantizationConfig:
    """Return how operators round what they are given and their results; weights have 8 bits."""
    weights = get_symmetric_quantization_config(eps=_LEAST_SCALE)
    return TOSAQuantizationConfig(given, result, weights.weight, weights.bias)
