"""A host written from docs/bundle.md alone, against the Python host: the page is enough."""

import hashlib
import json
import math
import struct
from dataclasses import replace

import numpy as np
import pytest
import torch
from executorch.extension.pybindings import _portable_lib
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import save_file

from cbpnet.host.random_streams import random_stream
from cbpnet.method.state import LearnerState
from cbpnet.run.state_file import load_state, save_state
from mobile.device.runtime import OnDeviceLearner

EPOCHS, BATCH = 2, 10


class PythonHostsNumbers:
    """The random numbers of the Python host: any would do, but then the states differ."""

    def __init__(self, seed, task):
        self.generator = random_stream(seed, task + 1)

    def permutation(self, count):
        self.count = count
        return torch.randperm(count, generator=self.generator).numpy()

    def random(self, shape):
        torch.rand(self.count, generator=self.generator)  # which images would be mirrored
        return torch.rand(shape, generator=self.generator).numpy()


class Host:
    """What docs/bundle.md describes, in numpy and the runtime's plain interface."""

    def __init__(self, path):
        self.bytes = path.read_bytes()
        magic, version, length = struct.unpack("<8sII", self.bytes[-48:-32])
        assert (magic, version) == (b"CBPNETMB", 3)
        assert hashlib.sha256(self.bytes[:-32]).digest() == self.bytes[-32:]
        self.manifest = json.loads(self.bytes[-48 - length : -48])
        self.program = _portable_lib._load_program_from_buffer(self.bytes)
        self.size, self.micro_batch = self.manifest["image_size"], self.manifest["micro_batch"]
        self.state = self.call("initial_state")
        self.names = list(self.manifest["class_names"])

    def call(self, method, **tensors):
        info = self.manifest["methods"][method]
        given = {**getattr(self, "state", {}), **tensors}
        inputs = []
        for tensor in info["inputs"]:
            value = np.ascontiguousarray(given[tensor["name"]], dtype=tensor["dtype"])
            assert list(value.shape) == tensor["shape"]
            inputs.append(torch.from_numpy(value))
        outputs = self.program.load_method(method).call(inputs)
        names = [tensor["name"] for tensor in info["outputs"]]
        return {name: value.numpy().copy() for name, value in zip(names, outputs, strict=True)}

    def prepare(self, picture):
        wanted = self.manifest["preprocessing"]
        height, width = picture.shape[:2]
        shorter = math.floor(self.size / wanted["crop_pct"])
        scale = min(height, width)
        resized = Image.fromarray(picture).resize(
            (shorter * width // scale, shorter * height // scale),
            {"bilinear": Image.BILINEAR, "bicubic": Image.BICUBIC}[wanted["interpolation"]],
        )
        left, top = (round((side - self.size) / 2) for side in resized.size)
        pixels = np.asarray(resized)[top : top + self.size, left : left + self.size]
        scaled = (pixels / np.float32(255) - np.float32(wanted["mean"])) / np.float32(wanted["std"])
        return scaled.transpose(2, 0, 1)

    def parts(self, images, labels):
        """Split into micro-batches; the last is filled with its last image and label -1."""
        for start in range(0, len(images), self.micro_batch):
            some = images[start : start + self.micro_batch]
            missing = self.micro_batch - len(some)
            yield (
                np.concatenate([some, *[some[-1:]] * missing]),
                np.append(labels[start : start + self.micro_batch], [-1] * missing),
                len(some),
            )

    def query(self, images):
        found = [
            self.call("query", images=part)["query"][:real]
            for part, _, real in self.parts(images, np.zeros(len(images)))
        ]
        return np.concatenate(found)

    def learn(self, pictures, random):
        images = np.stack([self.prepare(p) for few in pictures.values() for p in few])
        first = len(self.names)
        labels = np.repeat(np.arange(len(pictures)) + first, [len(f) for f in pictures.values()])
        self.names += pictures
        query = self.query(images)
        for part, wanted, _ in self.parts(query, labels):
            self.state |= self.call("observe", query=part, labels=wanted)
        members = np.zeros(self.manifest["classes"])
        members[labels] = 1
        number = self.state["state.tasks.known"].sum(keepdims=True)
        self.state |= self.call("begin_task", task=number, members=members)
        method = self.manifest["methods"]
        for _ in range(EPOCHS):
            order = random.permutation(len(images))
            for start in range(0, len(images), BATCH):
                rows = order[start : start + BATCH]
                sums = {t["name"]: np.zeros(t["shape"]) for t in method["gradients"]["outputs"]}
                queries = self.parts(query[rows], labels[rows])
                for (part, wanted, _), (features, _, _) in zip(
                    self.parts(images[rows], labels[rows]), queries, strict=True
                ):
                    sums = self.call(
                        "gradients", images=part, query=features, labels=wanted, **sums
                    )
                (noise,) = (t for t in method["update"]["inputs"] if t["name"] == "noise")
                self.state |= self.call(
                    "update", noise=random.random(noise["shape"]), rate=np.ones(1), **sums
                )

    def predict(self, pictures):
        images = np.stack([self.prepare(picture) for picture in pictures])
        query, scores = self.query(images), []
        features = self.parts(query, np.zeros(len(query)))
        for (part, _, real), (some, _, _) in zip(
            self.parts(images, np.zeros(len(images))), features, strict=True
        ):
            scores.append(self.call("predict", images=part, query=some)["scores"][:real])
        return [self.names[number] for number in np.concatenate(scores).argmax(axis=1)]

    def save(self, path):
        manifest = self.manifest
        info = {name: manifest["backbone"][name] for name in ("weights", "dim")}
        info["backbone"] = manifest["backbone"]["name"]
        info |= {name: manifest[name] for name in ("preprocessing", "config", "classes", "tasks")}
        info = json.dumps(info | {"class_names": self.names, "progress": {}})
        tensors = {name.removeprefix("state."): value for name, value in self.state.items()}
        digest = hashlib.sha256(info.encode())
        for name in sorted(tensors):
            digest.update(name.encode() + tensors[name].astype("<f4").tobytes())
        metadata = {"format": "cbpnet-mobile learner state", "format_version": "2", "info": info}
        save_file(tensors, path, metadata | {"sha256": digest.hexdigest()})

    def resume(self, path):
        with safe_open(path, "numpy") as file:
            self.names = json.loads(file.metadata()["info"])["class_names"]
            for tensor in self.manifest["state"]:
                name, shape = tensor["name"], tensor["shape"]
                value = file.get_tensor(name)
                if tensor["counts"] is not None:
                    missing = shape[0] - len(value)
                    unknown = -1 if name == "classes.task" else 0
                    value = np.concatenate([value, np.full((missing, *shape[1:]), unknown)])
                assert list(value.shape) == shape
                self.state[f"state.{name}"] = value.astype("float32")


@pytest.fixture
def lessons(pictures):
    """Two tasks, each with an odd number of images, that micro-batches of two do not divide."""
    return [
        {"red": pictures("red", 4), "green": pictures("green", 3)},
        {name: pictures(name, 3) for name in ("blue", "white", "black")},
    ]


def test_it_learns_what_the_python_host_learns(bundle, lessons, pictures, tmp_path):
    host, expected = Host(bundle), OnDeviceLearner(bundle)
    for number, lesson in enumerate(lessons):
        host.learn(lesson, PythonHostsNumbers(seed=number, task=number))
        expected.learn(lesson, epochs=EPOCHS, batch_size=BATCH)
    shown = [p for name in host.names for p in pictures(name, 3, seed=1)]
    found = host.predict(shown)
    assert found == [image.label for image in expected.predict(shown)]
    assert len(set(found)) > 2
    host.save(tmp_path / "state")
    resumed = OnDeviceLearner(bundle, tmp_path / "state")
    assert resumed.class_names == expected.class_names
    for name, value in expected._knowledge.state.items():
        torch.testing.assert_close(resumed._knowledge.state[name], value, rtol=1e-5, atol=1e-6)
    resumed.learn({"pink": pictures("pink", 3)}, epochs=1)
    assert resumed.known_tasks == 3


def test_a_state_with_less_capacity_grows_as_in_the_python_host(bundle, lessons, tmp_path):
    learner = OnDeviceLearner(bundle)
    learner.learn(lessons[0], epochs=1)
    learner.save(tmp_path / "large")
    state, info = load_state(tmp_path / "large")
    small = replace(info, classes=3, tasks=1)
    cut = {name: state[name][: shape[0]] for name, shape in small.layout.items()}
    save_state(tmp_path / "small", LearnerState(small.layout, cut), small)

    host, expected = Host(bundle), OnDeviceLearner(bundle, tmp_path / "small")
    host.resume(tmp_path / "small")
    assert tuple(host.names) == expected.class_names
    for name, value in expected._knowledge.state.items():
        assert torch.equal(torch.from_numpy(host.state[f"state.{name}"]), value), name
