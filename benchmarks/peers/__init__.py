"""Who computes the learning step: one row a peer, and one module for each kind of them."""

from dataclasses import dataclass

__all__ = ["EXACT", "PEERS", "REFERENCE", "Peer"]

REFERENCE = "int8"  # whose times all others are compared with
EXACT = "eager"  # whose gradients all others are compared with


@dataclass(frozen=True)
class Peer:
    """A way to compute the step.

    ``module`` runs it, in a process of its own (`benchmarks.worker.Assignment`); ``maker`` has
    `make(step, variant, path)`, which writes the program that it runs. A slow peer takes part in
    few rounds. ``exact`` peers compute in fp32 and must have the gradients of PyTorch. ``note``
    says how it differs from the others.
    """

    title: str
    module: str
    variant: str
    maker: str | None = None
    exact: bool = True
    slow: bool = False
    note: str = ""


PEERS = {
    "int8": Peer(
        "cbpnet-mobile, int8 bundle",
        "benchmarks.peers.bundle",
        "int8",
        maker="benchmarks.peers.bundle_maker",
        exact=False,
    ),
    "fp32": Peer(
        "cbpnet-mobile, fp32 bundle",
        "benchmarks.peers.bundle",
        "fp32",
        maker="benchmarks.peers.bundle_maker",
    ),
    "eager": Peer("PyTorch eager, fp32", "benchmarks.peers.pytorch", "eager"),
    "compile": Peer(
        "PyTorch torch.compile, fp32",
        "benchmarks.peers.pytorch",
        "compile",
        note="inductor; it needs a C++ compiler, and its memory includes compiling",
    ),
    "torchao": Peer(
        "PyTorch eager, int8 (torchao)",
        "benchmarks.peers.pytorch",
        "torchao",
        exact=False,
        note="torchao's prototype of int8 mixed-precision training, which rounds the fp32 weights "
        "anew in every call; its int8 inference (Int8DynamicActivationInt8WeightConfig) passes no "
        "gradient on, prompts get zeros",
    ),
    "et-portable": Peer(
        "ExecuTorch's training path, no delegate",
        "benchmarks.peers.executorch_training",
        "portable",
        maker="benchmarks.peers.executorch_maker",
        slow=True,
        note="_export_forward_backward, TrainingModule and SGD, on the kernels of the wheel",
    ),
    "et-xnnpack": Peer(
        "ExecuTorch's training path, XnnpackPartitioner",
        "benchmarks.peers.executorch_training",
        "xnnpack",
        maker="benchmarks.peers.executorch_maker",
        slow=True,
        note="the same with the default partitioner",
    ),
    "onnxruntime": Peer(
        "ONNX Runtime training, fp32",
        "benchmarks.peers.onnxruntime_training",
        "fp32",
        maker="benchmarks.peers.onnxruntime_maker",
        note="on-device training of onnxruntime-training-cpu 1.19.2, the last release; AdamW",
    ),
    "litert": Peer(
        "LiteRT, fp32",
        "benchmarks.peers.litert_training",
        "fp32",
        maker="benchmarks.peers.litert_maker",
        note="the ViT and the loss written again in TensorFlow, whose GradientTape differentiates "
        "them; GELU in its tanh form; XNNPACK delegate; without an optimiser",
    ),
}
