"""Compile the stand-in once into a cache, keyed by its bytes and by the torch that it stands below."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import tempfile
from hashlib import sha256
from pathlib import Path

from filelock import FileLock

HERE = Path(__file__).parent
LIBRARIES = ("torch_cuda", "c10_cuda", "torch_python", "torch_cpu", "caffe2_nvrtc", "torch_cuda_linalg")
OURS = re.compile(r"(cuda|__cuda|cudnn|cublas|nccl|cusparse|cusolver|curand|cu[A-Z])")
# what CUDA's headers want of a part of the toolkit that torch does not bring
EMPTY = (
    "__host__ __device__ __global__ __shared__ __constant__ __managed__ __no_return__ __noinline__ CUDARTAPI CUDARTAPI_CDECL "
    "__device_builtin__ __device_builtin_texture_type__ __device_builtin_surface_type__ __cudart_builtin__ __inline_hint__"
)
ALIGNED = (
    "#define __align__(n) __attribute__((aligned(n)))\n#define __builtin_align__(n) __align__(n)\n"
    "#define __forceinline__ inline\n#define __specialization_static static\n"
)


def stand_in() -> Path:
    """The folder that holds libstandin.so for this torch, built if it is not there."""
    spec = importlib.util.find_spec("torch")  # found, not imported
    assert spec and spec.origin
    packages = Path(spec.origin).parents[1]
    sources = sorted([*HERE.glob("*.[ch]"), Path(__file__)])
    version = (packages / "torch/version.py").read_text()
    key = sha256(b"".join([version.encode(), *(source.read_bytes() for source in sources)])).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"cuda-stand-in-{key}"
    with FileLock(f"{folder}.lock"):
        if not (folder / "done").exists():
            _build(packages, folder)
            (folder / "done").touch()
    return folder


def _build(packages: Path, out: Path) -> None:
    (out / "crt").mkdir(parents=True, exist_ok=True)
    (out / "crt/host_defines.h").write_text("".join(f"#define {name}\n" for name in EMPTY.split()) + ALIGNED)
    include = next(packages.glob("nvidia/cu1*/include"))
    objects = []
    for source in sorted(HERE.glob("*.c")):
        objects.append(out / f"{source.stem}.o")
        _run("gcc", "-c", "-O1", "-fPIC", "-w", f"-I{out}", f"-I{include}", f"-I{HERE}", source, "-o", objects[-1])
    have = {name for one in objects for name in _names("--defined-only", one)}
    libraries = (packages / f"torch/lib/lib{name}.so" for name in LIBRARIES)
    need = {name for library in libraries if library.exists() for name in _names("-D", "--undefined-only", library)}
    rest = sorted(name for name in need - have if OURS.match(name))
    answers = "".join(f'int {name}(void) {{ stub_count("{name}"); return 0; }}\n' for name in rest)
    (out / "rest.c").write_text(f"void stub_count(const char *);\n{answers}")
    library = out / "libstandin.so"
    _run("gcc", "-shared", "-O1", "-fPIC", "-w", *objects, out / "rest.c", "-o", library, "-lpthread")
    for name in ("libcuda.so.1", "libcurand.so.10"):  # the second is needed by torch 2.11
        (out / name).write_bytes(library.read_bytes())


def _names(*arguments: str | Path) -> set[str]:
    lines = _run("nm", *arguments).splitlines()
    return {line.split()[-1].split("@")[0] for line in lines if line}


def _run(*command: str | Path) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
