"""A program that no export writes is refused by name before any runtime sees it.

The programs are taken apart and put together by ExecuTorch's own exporter.
"""

import dataclasses
import io
import subprocess
import sys

import pytest

from cbpnet.host.errors import InputError
from mobile.device.bundle import open_bundle, read_manifest, seal
from mobile.device.operators import OPERATORS
from mobile.device.program import Program
from mobile.device.program_check import DELEGATES, check_program, planned_bytes

pytest.importorskip("executorch.exir")
pytest.importorskip("torch")

import torch
from executorch.exir import schema
from executorch.exir._serialize._program import (
    deserialize_pte_binary,
    serialize_pte_binary,
)

from mobile.targets.catalogue import TARGETS


def changed(program, change):
    """A program's bytes after ``change`` of what ExecuTorch reads from them."""
    file = deserialize_pte_binary(program)
    change({plan.name: plan for plan in file.program.execution_plan})
    return bytes(serialize_pte_binary(file, extract_delegate_segments=True))


@pytest.fixture
def refusal(bundle, program_in, tmp_path):
    """The sentence for a bundle whose program was changed."""

    def refuse(change, source=bundle, **entries):
        path = tmp_path / "x.pte"
        manifest = dataclasses.replace(read_manifest(source), **entries)
        path.write_bytes(seal(changed(program_in(source), change), manifest))
        with pytest.raises(InputError) as raised:
            Program(path)
        (sentence,) = str(raised.value).splitlines()
        assert sentence.startswith(f"bundle {path} is not run: ")
        assert sentence.endswith("; export it again")
        return sentence

    return refuse


def test_what_was_put_together_again_without_a_change_is_taken(bundle, program_in):
    again = changed(program_in(bundle), lambda plans: None)
    check_program(io.BytesIO(again), len(again), read_manifest(bundle))


def test_both_kinds_of_bundle_are_taken(bundle, one_pass_bundle):
    for path in (bundle, one_pass_bundle):
        opened = open_bundle(path)
        with opened.file:
            check_program(opened.file, opened.program_bytes, opened.manifest)


def test_memory_is_what_executorch_reads_of_it(one_pass_bundle, program_in):
    program = program_in(one_pass_bundle)
    plans = deserialize_pte_binary(program).program.execution_plan
    most = max(sum(plan.non_const_buffer_sizes) for plan in plans)
    assert planned_bytes(program) == read_manifest(one_pass_bundle).limits.planned_bytes == most


def delegate(name, **options):
    return schema.BackendDelegate(
        id=name,
        processed=schema.BackendDelegateDataReference(schema.DataLocation.INLINE, 0),
        compile_specs=[schema.CompileSpec(key, value) for key, value in options.items()],
    )


def with_delegate(method, name, **options):
    def change(plans):
        plans[method].delegates.append(delegate(name, **options))

    return change


@pytest.fixture
def library(tmp_path):
    """A path that a delegate's option names; what loads it would leave a trace."""
    return str(tmp_path / "cat.jpg").encode()


@pytest.fixture
def with_data(monkeypatch):
    """Let delegates that are put into a program have a few bytes of data."""
    from executorch.exir._serialize import _program

    serialise = _program.serialize_pte_binary

    def with_bytes(file, **settings):
        if not file.program.backend_delegate_data:
            file.program.backend_delegate_data = [schema.BackendDelegateInlineData(b"\0" * 64)]
        return serialise(file, **settings)

    monkeypatch.setitem(globals(), "serialize_pte_binary", with_bytes)


@pytest.mark.usefixtures("with_data")
@pytest.mark.parametrize("method", ["query", "update"])
def test_a_delegate_that_loads_a_library_is_refused_by_name(refusal, library, method):
    sentence = refusal(with_delegate(method, "QnnBackend", qnn_compile_spec=library))
    assert f"its method '{method}' runs in the delegate 'QnnBackend'" in sentence
    assert "right are XnnpackBackend" in sentence


@pytest.mark.usefixtures("with_data")
def test_a_bundle_does_not_allow_itself_a_delegate(refusal, library):
    """A target's delegate runs the passes forwards, and no other method."""
    change = with_delegate("update", "QnnBackend", qnn_compile_spec=library)
    assert "its method 'update' runs in the delegate 'QnnBackend'" in refusal(change, target="qnn")
    change = with_delegate("query", "QnnBackend", qnn_compile_spec=library)
    assert "its method 'query' runs in" in refusal(change, target="QnnBackend")


@pytest.mark.usefixtures("with_data")
def test_qualcomms_delegate_is_never_loaded_here(bundle, program_in, tmp_path, library):
    path = tmp_path / "x.pte"
    program = changed(
        program_in(bundle), with_delegate("query", "QnnBackend", qnn_compile_spec=library)
    )
    path.write_bytes(seal(program, dataclasses.replace(read_manifest(bundle), target="qnn")))
    with pytest.raises(InputError, match=r"'query' .* in Qualcomm's delegate, which loads"):
        Program(path).call("query", {})


def test_targets_have_the_delegates_that_executorch_names():
    assert set(DELEGATES) == set(TARGETS) - {"xnnpack", "portable"}


def first(plan, kind):
    instructions = [one.instr_args for one in plan.chains[0].instructions]
    return next(one for one in instructions if isinstance(one, kind))


def first_value(plan, kind):
    return next(value.val for value in plan.values if isinstance(value.val, kind))


def constant(plan):
    return next(
        value.val
        for value in plan.values
        if isinstance(value.val, schema.Tensor) and value.val.data_buffer_idx
    )


def planned(plan):
    return next(
        value.val
        for value in plan.values
        if isinstance(value.val, schema.Tensor) and value.val.allocation_info
    )


def another_operator(plan):
    plan.operators[0].name = "aten::from_file"


def operator_out_of_range(plan):
    first(plan, schema.KernelCall).op_index = len(plan.operators)


def operator_below_zero(plan):
    first(plan, schema.KernelCall).op_index = -1


def argument_out_of_range(plan):
    first(plan, schema.KernelCall).args[0] = len(plan.values)


def argument_too_few(plan):
    first(plan, schema.KernelCall).args.pop()


def argument_of_another_kind(plan):
    call = first(plan, schema.KernelCall)
    plan.values.append(schema.EValue(schema.String("x")))
    call.args[0] = len(plan.values) - 1


def input_out_of_range(plan):
    plan.inputs[0] = 1 << 20


def output_that_is_no_tensor(plan):
    plan.values.append(schema.EValue(schema.Int(3)))
    plan.outputs[0] = len(plan.values) - 1


def negative_length(plan):
    planned(plan).sizes[0] = -1


def huge_tensor(plan):
    planned(plan).sizes[:] = [1 << 30] * len(planned(plan).sizes)


def offset_beyond_memory(plan):
    planned(plan).allocation_info.memory_offset_high = 1


def another_memory(plan):
    planned(plan).allocation_info.memory_id = 9


def axis_twice(plan):
    planned(plan).dim_order = bytes(len(planned(plan).dim_order)) + b"\0"


def elements_of_no_kind(plan):
    planned(plan).scalar_type = schema.ScalarType.QINT8


def constant_out_of_range(plan):
    constant(plan).data_buffer_idx += 1000


def outside_of_the_file(plan):
    constant(plan).extra_tensor_info = schema.ExtraTensorInfo(
        fully_qualified_name="x", location=schema.TensorDataLocation.EXTERNAL
    )


def huge_memory(plan):
    plan.non_const_buffer_sizes[1] = 1 << 40


def negative_memory(plan):
    plan.non_const_buffer_sizes[1] = -1


def move(plan):
    plan.chains[0].instructions[0] = schema.Instruction(schema.MoveCall(0, 1))


def free(plan):
    plan.chains[0].instructions[0] = schema.Instruction(schema.FreeCall(0))


def jump_to_itself(plan):
    plan.values.append(schema.EValue(schema.Bool(False)))
    jump = schema.JumpFalseCall(len(plan.values) - 1, 0)
    plan.chains[0].instructions[0] = schema.Instruction(jump)


def two_chains(plan):
    plan.chains.append(plan.chains[0])


def list_of_other_values(plan):
    first_value(plan, schema.IntList).items[0] = 1 << 20


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (another_operator, "calls the operator 'aten::from_file"),
        (operator_out_of_range, "refers to operator"),
        (operator_below_zero, "refers to operator -1"),
        (argument_out_of_range, "of"),
        (argument_too_few, "are right"),
        (argument_of_another_kind, "a StringValue where"),
        (input_out_of_range, "refers to value 1048576"),
        (output_that_is_no_tensor, "which is no Tensor"),
        (negative_length, "has the shape"),
        (huge_tensor, "which are not there"),
        (offset_beyond_memory, "which are not there"),
        (another_memory, "of memory 9"),
        (axis_twice, "of its"),
        (elements_of_no_kind, "elements of kind 12"),
        (constant_out_of_range, "from constant"),
        (outside_of_the_file, "outside of the file"),
        (huge_memory, "plans memory of"),
        (negative_memory, "plans memory of"),
        (move, "is a MoveCall, which no export writes"),
        (free, "is a FreeCall, which no export writes"),
        (jump_to_itself, "refers to instruction 0 of 0"),
        (two_chains, "has 2 chains; 1 is right"),
        (list_of_other_values, "refers to value 1048576, which is no IntValue"),
    ],
)
def test_a_method_that_does_not_fit_together_is_refused(refusal, change, reason):
    sentence = refusal(lambda plans: change(plans["observe"]))
    assert "its method 'observe' " in sentence
    assert reason in sentence


def rename(plans):
    plans["query"].name = "quiz"


def twice(plans):
    plans["query"].name = "update"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (rename, "it has the method 'query' 0 times"),
        (twice, "it has the method 'query' 0 times"),
    ],
)
def test_methods_are_those_of_the_manifest(refusal, change, reason):
    assert reason in refusal(change)


def test_operators_are_handed_what_their_schemas_say():
    """Against torch's own schemas, of the operators that torch has."""
    kinds = {"Tensor[]": "tensors", "Tensor": "tensor", "bool": "bool", "float": "float"}
    kinds |= {"str": "text", "number": "number", "int": "int", "List[int]": "ints"}
    checked = 0
    for name, handed in OPERATORS.items():
        if not name.startswith("aten::") or name == "aten::sym_size.int":
            continue
        base, _, overload = name.partition(".")
        wanted = []
        for one in torch._C._get_schema(base, overload).arguments:
            kind = str(one.type)
            bare = kind.removeprefix("Optional[").removesuffix("]" if "Optional" in kind else "")
            word = kinds[bare.replace("List[Tensor]", "Tensor[]")]
            if one.alias_info is not None and one.alias_info.is_write:
                word = "outs" if word == "tensors" else "out"
            wanted.append(f"{word}?" if "Optional" in kind else word)
        assert list(handed[:-1]) == wanted, name
        assert handed[-1] in ("same", "outs")
        checked += 1
    assert checked > 60


def test_hundreds_of_times_mutated_it_is_refused_or_read(bundle, program_in, tmp_path):
    """In a process of its own: bits, bytes and words of the graphs, with a right checksum."""
    code = """
import io, random, sys
from pathlib import Path
from mobile.device.bundle import open_bundle
from mobile.device.program_check import check_program
opened, rng, refused = open_bundle(Path(sys.argv[1])), random.Random(0), 0
program = opened.file.seek(0) or opened.file.read(opened.program_bytes)
graphs = int.from_bytes(program[16:24], "little")
for _ in range(300):
    changed = bytearray(program)
    for _ in range(rng.randint(1, 3)):
        place = rng.randrange(graphs // 4) * 4
        word = rng.choice([0, 1, 2**31 - 1, 2**31, 2**32 - 1, rng.randrange(2**32), graphs])
        changed[place : place + 4] = word.to_bytes(4, "little")
    try:
        check_program(io.BytesIO(changed), len(changed), opened.manifest)
    except ValueError as error:
        assert str(error)
        refused += 1
print(refused > 150)
"""
    command = [sys.executable, "-c", code, str(bundle)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("True\n", 0), done.stderr
