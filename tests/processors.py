"""Run the numerical tests as other processors would run them: `make test-processors`.

OpenBLAS (numpy, scipy), ATen, MKL and oneDNN (torch), numpy's own loops and XLA (jax) choose their
kernels by what the processor can do, and each kernel sums in another order. Environment variables
make them choose an older one. What this processor lacks is left out, with a word.

    python tests/processors.py                    every processor, the numerical tests
    python tests/processors.py tests/test_x.py    these tests
    python tests/processors.py --only old -- -x   one processor, with an option for pytest
"""

import argparse
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

# The tests whose results no kernel can change, or that start processes which take minutes.
_NOT_NUMERICAL = (
    "cli/test_cli.py",
    "cli/test_damaged.py",
    "cli/test_demo.py",
    "plot/test_*.py",
    "project/test_*.py",
    "system/test_*.py",
)

# numpy names its features so until 2.3, and by levels from 2.4 on.
_FROM_SSSE3 = "SSSE3 SSE41 POPCNT SSE42 AVX F16C FMA3 AVX2"
_FROM_AVX512 = "AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL AVX512_SPR"


@dataclass(frozen=True)
class Processor:
    """A kind of processor, and what makes libraries take the one that is here for it."""

    name: str
    needs: tuple[str, ...]  # flags of /proc/cpuinfo
    threads: int
    blas: str
    aten: str
    isa: tuple[str, str]  # of oneDNN and of MKL
    xla: str
    without: str = ""  # features that numpy has to leave alone

    def environment(self):
        """Return the variables to set."""
        return {
            "OMP_NUM_THREADS": str(self.threads),
            "OPENBLAS_NUM_THREADS": str(self.threads),
            "OPENBLAS_CORETYPE": self.blas,
            "ATEN_CPU_CAPABILITY": self.aten,
            "ONEDNN_MAX_CPU_ISA": self.isa[0],
            "MKL_ENABLE_INSTRUCTIONS": self.isa[1],
            "XLA_FLAGS": f"--xla_cpu_max_isa={self.xla}",
            "NPY_DISABLE_CPU_FEATURES": _known_to_numpy(self.without),
        }


PROCESSORS = (
    Processor(
        "old", (), 1, "Prescott", "default", ("SSE41", "SSE4_2"), "SSE4_2",
        f"{_FROM_SSSE3} {_FROM_AVX512} X86_V2 X86_V3 X86_V4",
    ),
    Processor(
        "haswell", ("avx2", "fma"), 2, "Haswell", "avx2", ("AVX2", "AVX2"), "AVX2",
        f"{_FROM_AVX512} X86_V4",
    ),
    Processor(
        "zen", ("avx2", "fma"), 1, "Zen", "avx2", ("AVX2", "AVX2"), "AVX2",
        f"{_FROM_AVX512} X86_V4",
    ),
    Processor(
        "skylake", ("avx512f", "avx512dq", "avx512bw", "avx512vl"), 2, "SkylakeX", "avx512",
        ("AVX512_CORE", "AVX512"), "AVX512",
    ),
)  # fmt: skip


def _known_to_numpy(names):
    """Return those features that this numpy may be told to leave alone."""
    from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__

    here = {name for name in __cpu_dispatch__ if __cpu_features__.get(name)}
    return " ".join(name for name in names.split() if name in here)


def flags():
    """Return what this processor can do, as Linux tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return set()
    return {word for line in lines if line.startswith("flags") for word in line.split()[2:]}


def numerical_tests(folder):
    """Return the files of tests whose numbers a kernel can change."""
    others = {path for pattern in _NOT_NUMERICAL for path in folder.glob(pattern)}
    return sorted(str(path) for path in folder.rglob("test_*.py") if path not in others)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = [processor.name for processor in PROCESSORS]
    parser.add_argument("--only", choices=names, nargs="+", default=names)
    parser.add_argument("arguments", nargs="*", help="files of tests, options of pytest after --")
    options = parser.parse_args()
    here, failed = flags(), []
    files = [name for name in options.arguments if not name.startswith("-")]
    arguments = options.arguments + ([] if files else numerical_tests(Path(__file__).parent))
    for processor in PROCESSORS:
        if processor.name not in options.only:
            continue
        lacking = [flag for flag in processor.needs if flag not in here]
        if lacking:
            print(f"== {processor.name}: left out, this processor has no {lacking[0]}", flush=True)
            continue
        settings = processor.environment()
        print(f"== {processor.name}:", *(f"{k}={v!r}" for k, v in settings.items()), flush=True)
        command = [sys.executable, "-m", "pytest", "-q", "-m", "not slow and not campaign"]
        if subprocess.run([*command, *arguments], env={**os.environ, **settings}).returncode:
            failed.append(processor.name)
    print(f"== failed: {', '.join(failed)}" if failed else "== passed on all that could be run")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
