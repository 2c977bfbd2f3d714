"""Classes of an older state, moved into a bundle of the one-pass learner."""

from dataclasses import replace

import numpy as np

from cbpnet.host.errors import InputError
from cbpnet.run.class_means import ClassMeans
from cbpnet.run.journal import Journal
from cbpnet.run.state_info import check_fit
from mobile.device.lessons import Knowledge
from mobile.device.one_pass_program import OnePassProgram

__all__ = ["move_classes"]

_FEATURES = ("pooled",)


def move_classes(old: ClassMeans, learner: OnePassProgram) -> Knowledge:
    """Return what a one-pass bundle knows with the classes of an older state.

    The means move, and each counts as one image: they are of features without a prompt, and how
    images of a class scatter around them is not known. So the images of later lessons outweigh
    them, and only those images make up the scatter and its prior.

    Raises:
        InputError: the state is of another backbone, other weights or preprocessing, the bundle
            counts other features, knows classes already or has no room for these.
    """
    manifest, known = learner.program.manifest, len(old.class_names)
    ours = manifest.state_info(old.class_names, {})
    theirs = {name: getattr(old, name) for name in ("backbone", "weights", "dim", "preprocessing")}
    check_fit(replace(ours, **theirs), ours)
    if learner.config.features != _FEATURES:
        raise InputError(
            f"the bundle's features are {', '.join(learner.config.features)}, and older states "
            "have the means of pooled alone; export the bundle with --features pooled"
        )
    start = learner.stored_state()
    if start.known_classes:
        raise InputError(
            f"the bundle knows {start.known_classes} classes already; move into one that was "
            "exported without --state"
        )
    if known > learner.classes:
        raise InputError(
            f"the state knows {known} classes and the bundle has room for {learner.classes}; "
            f"export it with --classes {known} or more"
        )
    count = np.zeros_like(start["classes.count"])
    mean = np.zeros_like(start["classes.mean"])
    count[:known], mean[:known] = 1, old.mean
    state = start.replace({"classes.count": count, "classes.mean": mean})
    solved, _ = learner.solve(state, state["readout.prior"], state["readout.scale"])
    journal = Journal(solved, old.class_names)
    return Knowledge(solved, old.class_names, lessons=0, journal=journal)
