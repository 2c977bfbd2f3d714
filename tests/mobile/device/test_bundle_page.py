"""A host written from docs/bundle.md alone, against the Python host: the page is enough."""

import hashlib
import itertools
import json
import math
import struct
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import save_file

from cbpnet.host.random_streams import RandomStream
from cbpnet.method.state import HostState
from cbpnet.run.state_file import load_state, save_state
from mobile.device.runtime import OnDeviceLearner

torch = pytest.importorskip("torch")
_portable_lib = pytest.importorskip("executorch.extension.pybindings._portable_lib")

BATCH = 4


class PythonHostsNumbers:
    """The random numbers of the Python host: any would do, but then the states differ."""

    def __init__(self, lesson):
        self.order, self.units = RandomStream(0, lesson), RandomStream(0, -lesson)

    def permutation(self, count):
        return self.order.permutation(count)

    def random(self, shape, images):
        self.order.uniform(images)  # which images would be mirrored
        return self.units.uniform(*shape)


class Host:
    """What docs/bundle.md describes of a learner in one pass, in numpy and the plain runtime."""

    def __init__(self, path):
        self.bytes = path.read_bytes()
        magic, version, length = struct.unpack("<8sII", self.bytes[-48:-32])
        assert (magic, version) == (b"CBPNETMB", 4)
        assert hashlib.sha256(self.bytes[:-32]).digest() == self.bytes[-32:]
        self.manifest = json.loads(self.bytes[-48 - length : -48])
        self.program = _portable_lib._load_program_from_buffer(self.bytes)
        self.size = self.manifest["image_size"]
        self.adaptation = self.manifest["config"]["adaptation"]
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

    def parts(self, method, count, *rows):
        """Split rows into a method's batches; the last one is filled with its last row."""
        inputs = self.manifest["methods"][method]["inputs"]
        size = next(t["shape"][0] for t in inputs if t["name"] in ("images", "x", "before"))
        for start in range(0, count, size):
            place = np.arange(start, start + size)
            real = place < count
            yield real, [few[np.minimum(place, count - 1)] for few in rows]

    def look(self, images, output="x", **state):
        found = [
            self.call("features", images=few, **state)[output][real]
            for real, (few,) in self.parts("features", len(images), images)
        ]
        return np.concatenate(found)

    def counted(self, images):
        return np.clip(self.look(images), -65504, 65504).astype(np.float16).astype(np.float32)

    def zeros(self, method):
        return {
            t["name"]: np.zeros(t["shape"]) for t in self.manifest["methods"][method]["outputs"]
        }

    def metric(self, prior):
        solved = self.call("solve", prior=[prior], scale=[1])
        names = ("inverse", "projected", "ridge", "trace", "related")
        return {name: solved[name] for name in names}

    def evidence(self, metric, x, labels, members, copies):
        sums = self.zeros("leave_one_out")
        for real, (few, own, alike) in self.parts("leave_one_out", len(x), x, labels, copies):
            given = {"x": few, "labels": np.where(real, own, -1), "copies": alike, **sums}
            sums = self.call("leave_one_out", members=members, **metric, **given)
        return sums

    def copies(self, metric, x, labels):
        away = x - self.state["state.classes.mean"][labels]
        found = np.ones(len(x))
        for one, other in itertools.permutations(range(len(x)), 2):
            near, own, its = (
                away[i] @ metric["inverse"] @ away[j]
                for i, j in ((one, other), (one, one), (other, other))
            )
            alike = near / np.sqrt(own * its) > 5 / np.sqrt(x.shape[1])
            if labels[one] == labels[other] and alike:
                found[one] += min(near / own, 1)
        return found

    def count(self, x, labels):
        for real, (few, own) in self.parts("observe", len(x), x, labels):
            self.state |= self.call("observe", x=few, labels=np.where(real, own, -1))
        readout = self.manifest["config"]["readout"]
        priors, scales = np.array(readout["priors"]), np.array(readout["scales"])
        known, alone = self.state["state.classes.count"] > 0, np.ones(len(x))
        metrics = [self.metric(prior) for prior in priors]
        rows = [self.evidence(metric, x, labels, known, alone) for metric in metrics]
        if not rows[0]["sums.count"].any():
            return
        evidence = self.state["state.readout.evidence"] + np.stack(
            [row["sums.likelihood"] for row in rows]
        )
        best = (evidence.max(axis=1) - 8 * np.log10(priors) ** 2).argmax()
        copies = self.copies(metrics[best], x, labels)
        sums = self.evidence(metrics[best], x, labels, known, copies)
        calibration = self.state["state.readout.calibration"] + sums["sums.likelihood"]
        chosen = {
            "readout.evidence": evidence,
            "readout.calibration": calibration,
            "readout.prior": priors[[best]],
        }
        if calibration.any():
            chosen["readout.scale"] = scales[[calibration.argmax()]]
        if readout["kind"] == "whitened":
            n, (total, squares) = sums["sums.count"][0], sums["sums.unknown"]
            deviation = np.sqrt((squares - total**2 / n) / (n - 1)) if n > 1 else np.inf
            few = np.sqrt(1 + 1 / n) * (1 + 2.96 / 4 / max(n - 1, 1))
            chosen["unknown.threshold"] = np.array([total / n + 1.4 * few * deviation])
        for name, value in chosen.items():
            self.state[f"state.{name}"] = value.astype("float32")

    def adapts(self, images, x, labels, members):
        kind = self.adaptation["kind"]
        if kind == "never" or members.sum() < 2:
            return False
        if kind == "always":
            return True
        first = not self.before["state.lessons.adapted"][0]
        others = ((self.before["state.classes.count"] > 0) & ~members).sum()
        fewest = max(self.adaptation["fewest_classes"], self.adaptation["share"] * others)
        if kind == "first" or members.sum() < fewest:
            return first and kind == "first"
        if first:
            return True
        if "confidence" in self.zeros("features"):
            asked = images[np.argsort(labels, kind="stable")[::10]]
            zeros = np.zeros_like(self.state["state.prompts.g"])
            sure = self.look(asked, "confidence", **{"state.prompts.g": zeros})
            return sure.mean() < self.adaptation["confidence"]
        metric = self.metric(self.state["state.readout.prior"][0])
        sums = self.evidence(metric, x, labels, members, np.ones(len(x)))
        right, count = sums["sums.right"][0], sums["sums.count"][0]
        return count > 0 and right / count < self.adaptation["accuracy"]

    def train(self, images, labels, members, random):
        """Return the outcome of an adaptation."""
        trained = self.call("begin_task", members=members)
        rate, epochs = self.adaptation["final_rate"], self.adaptation["epochs"]
        inputs = self.manifest["methods"]["update"]["inputs"]
        noise = next((t["shape"] for t in inputs if t["name"] == "noise"), [0])
        batches = range(0, len(images), BATCH)
        for epoch in range(epochs):
            order = random.permutation(len(images))
            for number, start in enumerate(batches):
                rows, sums = order[start : start + BATCH], self.zeros("gradients")
                for real, (few, own) in self.parts(
                    "gradients", len(rows), images[rows], labels[rows]
                ):
                    given = {"images": few, "labels": np.where(real, own, -1), **sums}
                    sums = self.call("gradients", **trained, **given)
                done = (epoch + number / len(batches)) / epochs
                falling = rate + (1 - rate) * (1 + math.cos(math.pi * done)) / 2
                given = {"noise": random.random(noise, len(rows)), "rate": [falling], **sums}
                trained |= self.call("update", **trained, **given)
        return trained

    def learn(self, pictures, random):
        """Learn a lesson, and return whether it has adapted the features."""
        images = np.stack([self.prepare(p) for few in pictures.values() for p in few])
        self.names += [name for name in pictures if name not in self.names]
        numbers = [self.names.index(name) for name in pictures]
        labels = np.repeat(numbers, [len(few) for few in pictures.values()])
        members = np.isin(np.arange(self.manifest["classes"]), labels)
        self.before, x = dict(self.state), self.counted(images)
        self.count(x, labels)
        if adapts := self.adapts(images, x, labels, members):
            trained = self.train(images, labels, members, random)
            self.state = dict(self.before)
            for name, value in trained.items():
                if name.startswith(("adaptation.prompts.", "adaptation.cbp.")):
                    self.state[name.replace("adaptation", "state", 1)] = value
            self.state["state.lessons.adapted"] = self.before["state.lessons.adapted"] + 1
            after, drift = self.counted(images), self.zeros("compare")
            for real, (old, new) in self.parts("compare", len(x), x, after):
                given = {"before": old, "after": new, "weight": 0.3 * real, **drift}
                drift = self.call("compare", labels=np.full(len(real), -1), **given)
            self.state |= self.call("carry", **drift)
            self.count(after, labels)
        chosen = {name: self.state[f"state.readout.{name}"] for name in ("prior", "scale")}
        solved = self.call("solve", **chosen)
        self.state |= {name: value for name, value in solved.items() if name in self.state}
        self.state["state.lessons.count"] = self.before["state.lessons.count"] + 1
        return adapts

    def predict(self, pictures):
        x = self.look(np.stack([self.prepare(picture) for picture in pictures]))
        scores = [
            self.call("predict", x=few)["scores"][real]
            for real, (few,) in self.parts("predict", len(x), x)
        ]
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
        metadata = {"format": "cbpnet-mobile learner state", "format_version": "3", "info": info}
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
    """One adapts, one is familiar, and one is foreign, whose two classes look alike.

    Each has an odd number of images, which micro-batches of two do not divide.
    """
    return [
        {"red": pictures("red", 4), "green": pictures("green", 3)},
        {"white": pictures("white", 3), "red": pictures("red", 2, 1), "blue": pictures("blue", 4)},
        {"mist": pictures("grey", 4), "fog": pictures("grey", 5, 1)},
    ]


def test_it_learns_what_the_python_host_learns(one_pass_bundle, lessons, pictures, tmp_path):
    host, expected = Host(one_pass_bundle), OnDeviceLearner(one_pass_bundle)
    decisions = []
    for number, lesson in enumerate(lessons):
        (learnt,) = expected.learn(lesson, batch_size=BATCH, journal=0)
        assert host.learn(lesson, PythonHostsNumbers(number + 1)) == learnt.decision.adapts
        decisions.append(learnt.decision.reason)
    assert decisions == ["first", "familiar", "foreign"]
    shown = [p for colour in ("red", "green", "blue", "white") for p in pictures(colour, 3, seed=2)]
    found = host.predict(shown)
    assert found == [image.label for image in expected.predict(shown)]
    assert len(set(found)) > 2
    host.save(tmp_path / "state")
    resumed = OnDeviceLearner(one_pass_bundle, tmp_path / "state")
    assert resumed.class_names == expected.class_names
    for name, value in expected._knowledge.state.items():
        np.testing.assert_allclose(resumed._knowledge.state[name], value, rtol=1e-4, atol=1e-5)
    resumed.learn({"red": pictures("red", 3, seed=3)})
    assert resumed.known_tasks == 4


def test_a_state_with_less_capacity_grows_as_in_the_python_host(one_pass_bundle, lessons, tmp_path):
    learner = OnDeviceLearner(one_pass_bundle)
    learner.learn(lessons[0], epochs=1)
    learner.save(tmp_path / "large")
    state, info = load_state(tmp_path / "large")
    small = replace(info, classes=3, progress={})  # without a journal
    cut = {name: state[name][: shape[0]] for name, shape in small.layout.items()}
    save_state(tmp_path / "small", HostState(small.layout, cut), small)

    host, expected = Host(one_pass_bundle), OnDeviceLearner(one_pass_bundle, tmp_path / "small")
    host.resume(tmp_path / "small")
    assert tuple(host.names) == expected.class_names
    for name, value in expected._knowledge.state.items():
        assert np.array_equal(host.state[f"state.{name}"], value), name
