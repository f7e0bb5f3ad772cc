"""The LSTM kernel for CPUs: torch's results, the same bits on any number of threads, and a reason where there is none.

The variants are those of the vectors that it may find: AVX-512, AVX2 and SSE, each compiled as on such a processor.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from pipeline import config
from pipeline.data.batches import Batches
from pipeline.model import cpu_lstm
from pipeline.model.classifier import RecurrentClassifier
from pipeline.run import checkpoints
from pipeline.training import loop
from pipeline.training.state import State
from tests.support.launching import ROOT, run, succeed

VARIANTS = {"native": (), "avx2": ("-mno-avx512f",), "sse": ("-mno-avx",)}
SHAPES = [  # B, T, F, H
    (1, 1, 1, 16),
    (2, 3, 1, 16),
    (7, 5, 3, 32),
    (13, 4, 17, 48),
    (64, 28, 28, 64),
    (3, 130, 2, 16),
    (5, 3, 40, 80),
]


@pytest.fixture(autouse=True, scope="module")
def compiler() -> None:
    if shutil.which("c++") is None and shutil.which("g++") is None:
        pytest.skip("NOT TESTED: the LSTM kernel for CPUs needs a C++ compiler (apt-get install g++)")


@pytest.fixture(scope="module", params=VARIANTS)
def flags(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """The compiler's flags of a variant, which can be compiled here."""
    found = (*cpu_lstm.FLAGS, *VARIANTS[request.param])
    processor = next(line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags"))
    if not {"avx2", "fma"} <= set(processor.split()):
        pytest.skip(f"NOT TESTED: the LSTM kernel for {request.param}: this processor has no AVX2")
    cpu_lstm.library(found)  # a kernel that computes something else is a failure here, not a skip
    return found


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@dataclass
class Case:
    """A layer of torch's, values for it, and what its outputs are weighed with."""

    layer: nn.LSTM
    x: Tensor
    seed: Tensor

    @property
    def weights(self) -> list[Tensor]:
        return list(self.layer.parameters())

    def results(self, outputs_of: Callable[[Tensor], Tensor], further: bool = True) -> list[Tensor]:
        """Outputs, the gradients of all weights and, with ``further``, that of the values."""
        self.layer.zero_grad()
        x = self.x.clone().requires_grad_(further)
        outputs = outputs_of(x)
        outputs.backward(self.seed.to(outputs.dtype))
        grads = [weight.grad.clone() for weight in self.weights if weight.grad is not None]
        assert len(grads) == len(self.weights)
        return [outputs.detach(), *grads] + ([x.grad] if x.grad is not None else [])


def case(shape: tuple[int, int, int, int], directions: int, scale: float = 1.0) -> Case:
    batch, steps, features, hidden = shape
    torch.manual_seed(0)
    layer = nn.LSTM(features, hidden, batch_first=True, bidirectional=directions == 2)
    x = torch.randn(batch, steps, features) * scale
    return Case(layer, x, torch.randn(batch, steps, directions * hidden))


def ours(found: Case, flags: tuple[str, ...] = cpu_lstm.FLAGS) -> Callable[[Tensor], Tensor]:
    directions = 2 if found.layer.bidirectional else 1
    return lambda x: cpu_lstm._Layer.apply(cpu_lstm.library(flags), directions, x, *found.weights)


def exact(found: Case) -> list[Tensor]:
    """What torch's layer computes in double precision."""
    double = Case(nn.LSTM(found.layer.input_size, found.layer.hidden_size, batch_first=True,
                          bidirectional=found.layer.bidirectional).double(), found.x.double(), found.seed)  # fmt: skip
    double.layer.load_state_dict(found.layer.state_dict())
    return double.results(lambda x: double.layer(x)[0])


def distance(found: list[Tensor], truth: list[Tensor]) -> float:
    """The greatest difference, as a share of the greatest value of the tensor that it is in."""
    return max(
        float((mine - right).abs().max() / right.abs().max().clamp(min=1e-30)) for mine, right in zip(found, truth, strict=True)
    )


@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_outputs_and_gradients_are_those_of_torch(
    flags: tuple[str, ...], shape: tuple[int, int, int, int], directions: int
) -> None:
    made = case(shape, directions)
    assert distance(made.results(ours(made, flags)), exact(made)) < 5e-6
    without = made.results(ours(made, flags), further=False)
    assert all(torch.equal(a, b) for a, b in zip(without, made.results(ours(made, flags)), strict=False))


@pytest.mark.parametrize("scale", [1e-4, 30.0, 1e4])
def test_tiny_and_huge_values_are_no_worse_than_torchs(flags: tuple[str, ...], scale: float) -> None:
    """Near zero, where a tanh by exponentials would lose its digits, and far out, where an exponential overflows."""
    made = case((7, 5, 3, 32), 1, scale)
    truth = exact(made)
    torchs = distance(made.results(lambda x: made.layer(x)[0]), truth)
    assert distance(made.results(ours(made, flags)), truth) < max(5e-6, 4 * torchs)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_a_number_stays_visible_and_where_it_is(flags: tuple[str, ...], value: float) -> None:
    made = case((7, 5, 3, 32), 2)
    clean = made.results(ours(made, flags))
    made.x[3, 2, 1] = value
    found, torchs = made.results(ours(made, flags)), made.results(lambda x: made.layer(x)[0])
    others = [0, 1, 2, 4, 5, 6]
    assert torch.equal(found[0][others], clean[0][others])
    assert torch.equal(found[0].isnan(), torchs[0].isnan())
    assert not found[1].isfinite().all(), "the gradient of the input weights, as torch's"
    assert not torchs[1].isfinite().all()


@pytest.mark.parametrize("directions", [1, 2])
def test_bits_do_not_depend_on_the_number_of_threads_nor_on_the_other_rows(
    flags: tuple[str, ...], directions: int, threads: Callable[[int], None]
) -> None:
    made = case((13, 9, 17, 48), directions)
    results = []
    for number in (1, 2, 3, 5, 16):
        threads(number)
        results.append(made.results(ours(made, flags)))
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))
    whole = results[0][0]
    for rows in (slice(0, 1), slice(2, 5), slice(6, 13)):
        assert torch.equal(ours(made, flags)(made.x[rows]).detach(), whole[rows])


@pytest.mark.parametrize("directions", [1, 2])
def test_gradients_may_come_in_any_layout(directions: int) -> None:
    """A mean's is one step's, seen T times; that of a last step is zero elsewhere; a transposed one has other strides."""
    heads: list[Callable[[Tensor], Tensor]] = [
        lambda outputs: outputs.mean(1),
        lambda outputs: outputs[:, -1],
        lambda outputs: outputs.transpose(1, 2).contiguous().square(),
        lambda outputs: outputs.sum(),
    ]
    made = case((5, 4, 3, 32), directions)
    for head in heads:
        found = []
        for outputs_of in (ours(made), lambda x: made.layer(x)[0]):
            made.layer.zero_grad()
            head(outputs_of(made.x)).sum().backward()
            found.append([weight.grad.clone() for weight in made.weights if weight.grad is not None])
        assert distance(*found) < 5e-6


def test_values_may_come_in_any_layout() -> None:
    made = case((5, 4, 3, 32), 1)
    for x in (
        made.x.transpose(0, 1).contiguous().transpose(0, 1),
        made.x.expand(2, 5, 4, 3)[1],
        made.x.repeat(1, 1, 2)[:, :, :3],
    ):
        assert torch.equal(ours(made)(x), ours(made)(made.x))


def test_gradients_are_stored_apart_and_taken_once() -> None:
    made = case((5, 4, 3, 16), 1)
    outputs = ours(made)(made.x)
    outputs.sum().backward(retain_graph=True)
    places = {weight.grad.data_ptr() for weight in made.weights if weight.grad is not None}
    assert len(places) == 4, "or clipping would shrink the one that two of them share twice"
    with pytest.raises(RuntimeError, match="may be taken once"):
        outputs.sum().backward()


@pytest.mark.parametrize("arguments", [{}, {"bidirectional": True}, {"layers": 2, "bidirectional": True, "layer_norm": True}])
@pytest.mark.parametrize("lengths", [None, torch.tensor([5, 3, 1, 4])])
def test_a_model_trains_by_it_as_by_torch(
    model: Callable[..., RecurrentClassifier], arguments: dict[str, Any], lengths: Tensor | None
) -> None:
    values = torch.randint(0, 256, (4, 5, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
    found = []
    for own in (True, False):
        made = model(hidden=16, **arguments)
        made.by_kernel = own
        logits = made(values, lengths)
        assert ("_LayerBackward" in seen(logits)) == own
        logits.logsumexp(1).sum().backward()
        found.append([logits.detach(), *(parameter.grad for parameter in made.parameters() if parameter.grad is not None)])
        with torch.no_grad():
            assert torch.equal(made(values, lengths), model(hidden=16, **arguments)(values, lengths)), "not trained: by torch"
    assert len(found[0]) == len(found[1]) and distance(*found) < 5e-6


def seen(result: Tensor) -> str:
    """The names of all functions that a result comes from."""
    names, waiting, known = [], [result.grad_fn], set()
    while waiting:
        node = waiting.pop()
        if node is not None and node not in known:
            known.add(node)
            names.append(type(node).__name__)
            waiting += [next_ for next_, _ in node.next_functions]
    return " ".join(names)


@pytest.mark.parametrize(
    ("arguments", "train", "by"),
    [
        ({"hidden": 16}, {}, "by our own kernel"),
        ({"hidden": 16}, {"cpu_lstm": "torch"}, "by torch"),
        ({"hidden": 6}, {}, "by torch, not by our own kernel: model.hidden = 6 is no multiple of 16 up to 256"),
        ({"hidden": 512}, {}, "by torch, not by our own kernel: model.hidden = 512 is no multiple of 16 up to 256"),
        ({"hidden": 16, "cell": "gru"}, {}, "by torch"),
    ],
)
def test_it_is_used_where_it_can_be_and_what_is_used_is_said(
    state: Callable[..., State], arguments: dict[str, Any], train: dict[str, Any], by: str
) -> None:
    made = state(config.Optim(), config.Train(**train), **arguments)
    assert made.layers == by
    assert made.model.by_kernel == (by == "by our own kernel")


def test_half_precision_is_torchs(model: Callable[..., RecurrentClassifier]) -> None:
    made = model(hidden=16)
    made.by_kernel = True
    with torch.autocast("cpu", torch.bfloat16):
        assert "_LayerBackward" not in seen(made(torch.zeros(2, 5, 3)))


def test_it_brings_no_openmp_of_its_own() -> None:
    """With two, the threads of one would wait in circles while the other's work."""
    program = "from pipeline.model import cpu_lstm; cpu_lstm.library(); print(open('/proc/self/maps').read())"
    maps = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "cpu_lstm-" in maps
    assert len(set(re.findall(r"\S*lib[a-z]*omp[^/\s]*\.so\S*", maps))) == 1


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache of its own, and nothing remembered."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    cpu_lstm.library.cache_clear()
    yield tmp_path / "cache/sequence-pipeline"
    cpu_lstm.library.cache_clear()


def test_it_is_compiled_once(cache: Path) -> None:
    cpu_lstm.library()
    (made,) = cache.iterdir()
    assert cache.stat().st_mode & 0o777 == 0o700
    before = made.stat().st_mtime_ns
    cpu_lstm.library.cache_clear()
    cpu_lstm.library()
    assert [path.stat().st_mtime_ns for path in cache.iterdir()] == [before]


@pytest.mark.parametrize("damage", [lambda code: code[:1000], lambda code: code[:5000] + b"x" + code[5001:], lambda code: b""])
def test_a_damaged_one_is_made_again(cache: Path, damage: Callable[[bytes], bytes]) -> None:
    cpu_lstm.library()
    (made,) = cache.iterdir()
    whole = made.read_bytes()
    made.unlink()  # the one that is loaded stays as it is
    made.write_bytes(damage(whole))
    done = subprocess.run([sys.executable, "-c", "from pipeline.model import cpu_lstm; cpu_lstm.library()"], cwd=ROOT)
    assert done.returncode == 0
    assert [path.read_bytes() for path in cache.iterdir()] == [whole]


def test_several_processes_may_be_the_first_at_once(cache: Path) -> None:
    program = "from pipeline.model import cpu_lstm; cpu_lstm.library()"
    started = [subprocess.Popen([sys.executable, "-c", program], cwd=ROOT) for _ in range(2)]
    assert [process.wait(120) for process in started] == [0, 0]
    assert len(list(cache.iterdir())) == 1


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (None, "there is no C++ compiler"),
        (
            "#!/bin/sh\n[ $1 = --version ] || { echo 'x.cpp: error: no such thing' >&2; exit 1; }\n",
            "x.cpp: error: no such thing",
        ),
        ("#!/bin/sh\nexit 3\n", "exit status 3"),
        ('#!/bin/sh\n[ $1 = --version ] || touch "$(echo "$@" | sed \'s/.*-o //; s/ .*//\')"\n', "cannot be compiled"),
    ],
    ids=["none", "fails", "breaks", "makes nothing"],
)
def test_a_compiler_that_is_missing_or_fails_is_the_reason_given(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: Callable[..., State], script: str | None, reason: str
) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    if script:
        (tools / "g++").write_text(script)
        (tools / "g++").chmod(0o700)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin" if script else str(tools))
    made = state(config.Optim(), config.Train(), hidden=16)
    assert made.layers.startswith("by torch, not by our own kernel: ") and reason in made.layers
    assert not made.model.by_kernel


def test_a_compiler_whose_code_is_wrong_is_found_out(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = tmp_path / "wrong.cpp"
    wrong.write_text(cpu_lstm.SOURCE.read_text().replace("forget * load(before)", "load(before)"))
    monkeypatch.setattr(cpu_lstm, "SOURCE", wrong)
    with pytest.raises(cpu_lstm.Unavailable, match="is not what torch computes"):
        cpu_lstm.library()


@pytest.mark.skipif(os.geteuid() != 0, reason="NOT TESTED: a cache of another user needs root")
def test_code_of_another_user_is_not_run(cache: Path) -> None:
    cache.mkdir(parents=True)
    os.chown(cache, 12345, 12345)
    with pytest.raises(cpu_lstm.Unavailable, match="can be written by others"):
        cpu_lstm.library()


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702])
def test_code_that_others_may_write_is_not_run(cache: Path, mode: int) -> None:
    cache.mkdir(parents=True)
    cache.chmod(mode)
    with pytest.raises(cpu_lstm.Unavailable, match="can be written by others; chmod 700"):
        cpu_lstm.library()


@pytest.mark.parametrize("place", ["XDG_CACHE_HOME", "a folder above it"])
def test_a_place_where_others_may_put_a_link_is_not_used(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    cpu_lstm.library()
    cpu_lstm.library.cache_clear()
    shared = tmp_path / "shared"
    home = shared if place == "XDG_CACHE_HOME" else shared / "own"
    home.mkdir(parents=True, mode=0o700)
    shared.chmod(0o777)
    (home / cache.name).symlink_to(cache)
    monkeypatch.setenv("XDG_CACHE_HOME", str(home))
    with pytest.raises(cpu_lstm.Unavailable, match=f"{home / cache.name} is a link"):
        cpu_lstm.library()
    (home / cache.name).unlink()
    with pytest.raises(cpu_lstm.Unavailable, match=f"{shared} can be written by others; chmod go-w {shared}, or set XDG_CACHE"):
        cpu_lstm.library()
    shared.chmod(0o1777)  # as /tmp is: what is there is its owner's
    cpu_lstm.library()


def test_a_cache_that_is_a_link_is_not_followed_and_a_home_that_is_one_is(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "documents").mkdir()
    cache.parent.mkdir()
    cache.symlink_to(tmp_path / "documents")
    with pytest.raises(cpu_lstm.Unavailable, match=f"{cache} is a link"):
        cpu_lstm.library()
    cache.unlink()
    (tmp_path / "link").symlink_to(cache.parent)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "link"))
    cpu_lstm.library()
    assert len(list(cache.iterdir())) == 1 and not list((tmp_path / "documents").iterdir())


def test_what_is_old_in_the_cache_is_removed_when_something_new_comes_and_nothing_else(cache: Path) -> None:
    cache.mkdir(parents=True, mode=0o700)
    (cache / "cpu_lstm-old").mkdir()
    (cache / "cpu_lstm-old/cpu_lstm-1.so").write_bytes(b"half")
    for name in ("cpu_lstm-2.so", "cpu_lstm-3.so", "notes.txt"):
        (cache / name).write_bytes(b"some")
    for name in ("cpu_lstm-old", "cpu_lstm-2.so", "notes.txt"):
        os.utime(cache / name, (0, 0))
    cpu_lstm.library()
    assert len(list(cache.iterdir())) == 3 and (cache / "cpu_lstm-3.so").exists() and (cache / "notes.txt").exists()


def test_a_user_without_a_home_is_told_so(monkeypatch: pytest.MonkeyPatch, state: Callable[..., State]) -> None:
    def no_home(self: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "expanduser", no_home)
    cpu_lstm.library.cache_clear()
    try:
        assert (
            "it cannot be compiled: Could not determine home directory."
            in state(config.Optim(), config.Train(), hidden=16).layers
        )
    finally:
        cpu_lstm.library.cache_clear()


@pytest.mark.parametrize(
    "error", [OSError(), subprocess.TimeoutExpired("c++", 1), subprocess.CalledProcessError(1, "c++", b"", b"")]
)
def test_every_failure_has_a_reason(error: Exception) -> None:
    assert cpu_lstm._reason(error)


@pytest.mark.parametrize(
    ("x", "wrong"),
    [
        (torch.zeros(0, 5, 3), "at least one value"),
        (torch.zeros(2, 0, 3), "at least one value"),
        (torch.zeros(2, 5, 3, dtype=torch.float64), "expected single precision"),
        (torch.zeros(2, 5, 4), "expected weights of"),
    ],
)
def test_what_does_not_fit_is_refused(x: Tensor, wrong: str) -> None:
    made = case((2, 5, 3, 16), 1)
    with pytest.raises(ValueError, match=wrong):
        cpu_lstm.lstm(x, made.weights)
    with pytest.raises(ValueError, match="expected weights of"):
        cpu_lstm.lstm(made.x, made.weights[:3])
    with pytest.raises(ValueError, match="expected weights of"):
        cpu_lstm.lstm(made.x, made.weights, 2)


def test_a_run_that_torch_began_before_there_was_a_kernel_goes_on_by_torch(tmp_path: Path) -> None:
    common = ("--config", str(ROOT / "configs/smoke.yaml"))
    succeed("prepare", *common, cwd=tmp_path)
    run("train", *common, "train.cpu_lstm=torch", cwd=tmp_path, INJECTED_FAULT="kill@0:12")
    settings = tmp_path / "runs/smoke/config.yaml"
    lines = settings.read_text().splitlines(keepends=True)
    settings.write_text("".join(line for line in lines if "cpu_lstm" not in line and "pin:" not in line))
    output = succeed("train", *common, "train.cpu_lstm=torch", "run.pin=false", cwd=tmp_path)
    assert "rounds differently" not in output and "finished at step 28" in output


def test_a_run_goes_on_by_the_other_one_and_says_so(tmp_path: Path) -> None:
    common = ("--config", str(ROOT / "configs/smoke.yaml"))
    succeed("prepare", *common, cwd=tmp_path)
    status, _ = run("train", *common, cwd=tmp_path, INJECTED_FAULT="kill@0:12")
    assert status == -signal.SIGKILL
    (tmp_path / "empty").mkdir()
    output = succeed("train", *common, cwd=tmp_path, PATH=str(tmp_path / "empty"))
    assert "which rounds differently from what trained them so far" in output
    assert "recurrent layers go on by torch, not by our own kernel: there is no C++ compiler" in output
    found, _ = checkpoints.newest(tmp_path / "runs/smoke/checkpoints")
    assert found is not None and found.facts.cpu_lstm == 0


def test_exact_mode_and_plain_mode_learn_the_same_by_it(
    state: Callable[..., State], batches: Callable[..., Batches], accelerator: Accelerator
) -> None:
    losses = []
    for shards in (0, 2):
        train = config.Train(batch=8, epochs=2, gradient_shards=shards)
        made = state(config.Optim(lr=0.01), train, hidden=16)
        assert made.model.by_kernel
        made_batches = batches(32, 8, slices=shards or 1)
        losses.append([float(report.loss) for report in loop.train(made, made_batches, train, config.Optim(), 0)])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
