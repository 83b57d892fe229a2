#!/usr/bin/env python3
"""Who may include whom. Reads the #include lines of every C++ file; docs/design.md has the reasons.

Arrows run one way: cli -> sweeps -> configs, trainer, analysis -> models, data -> kernels, io.
"""
import fnmatch
import pathlib
import re
import sys

from tree import PARTS, files, report

# part: what its files may include beside their own part; a folder, or one file.
MAY_INCLUDE = {
    "io": [],
    "kernels": ["io"],
    "data": ["kernels", "io"],
    "models": ["kernels", "io"],
    "trainer": ["models", "data", "kernels", "io"],
    "analysis": ["trainer/probe.h", "models", "data", "kernels", "io"],
    "configs": ["trainer", "analysis", "models", "data", "kernels", "io"],
    "sweeps": ["configs", "trainer", "analysis", "models", "data", "kernels", "io"],
    "cli": ["sweeps", "configs", "trainer", "analysis", "models", "data", "kernels", "io"],
}

# (header, the only files that may include it)
ONLY_IN = [
    (["hdf5.h", "H5*.h", "hdf5/*"], ["io/*"]),
    (["yaml-cpp/*"], ["configs/*"]),
    (["mpi.h"], ["trainer/dist/*"]),
    (["nccl.h"], ["trainer/dist/nccl.cu"]),
    (["cuda*.h", "cublas*.h", "cudnn*.h", "curand*.h", "mma.h", "cooperative_groups*"], ["*.cu", "*.cuh"]),
    (["nvtx3/*"], ["kernels/core/nvtx.h"]),
    (["cublasLt.h"], ["kernels/linear/gemm_cublaslt.cu"]),
    (["cudnn_frontend.h"], ["kernels/attention/attention_cudnn.cu"]),
    (["cudnn.h"], ["kernels/attention/attention_cudnn.cu", "kernels/attention/cudnn_functions.cu"]),
    (["dlfcn.h"], ["kernels/core/shared_library.cpp"]),
]

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.MULTILINE)


def matches(name, patterns):
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def includes(text):
    """(line number, is it quoted, header) of every include."""
    for match in INCLUDE.finditer(text):
        yield text.count("\n", 0, match.start()) + 1, match[1] == '"', match[2]


def cycles(graph):
    """Each circle once, as the list of files along it."""
    state, found = {}, []

    def visit(node, path):
        state[node] = "open"
        for following in graph.get(node, []):
            if state.get(following) == "open":
                found.append(path[path.index(following):] + [following])
            elif following not in state:
                visit(following, path + [following])
        state[node] = "done"

    for node in graph:
        if node not in state:
            visit(node, [node])
    return found


def problems(tree):
    """The violations in {path: text}, a line each."""
    found, graph = [], {}
    for path, text in tree.items():
        part = path.split("/")[0]
        graph[path] = []
        for line, quoted, header in includes(text):
            where = f"{path}:{line}: #include {header}: "
            for headers, allowed in ONLY_IN:
                if matches(header, headers) and not matches(path, allowed):
                    found.append(where + f"only {' and '.join(allowed)} may")
            if not quoted:
                if header.split("/")[0] in PARTS and header in tree:
                    found.append(where + "a file of this project is included with quotes")
                continue
            target = header.split("/")[0]
            if target not in PARTS or header not in tree:
                found.append(where + "no such file; paths start at the project's root")
                continue
            graph[path].append(header)
            if target != part and target not in MAY_INCLUDE[part] and header not in MAY_INCLUDE[part]:
                found.append(where + f"{part} may include only {', '.join([part] + MAY_INCLUDE[part])}")
    for circle in cycles(graph):
        found.append("a circle of includes: " + " -> ".join(circle))
    return found


def self_test():
    """Each rule must catch a violation, and leave a clean tree alone."""
    clean = {
        "io/h5.h": "#pragma once\n#include <string>\n",
        "io/h5.cpp": '#include "io/h5.h"\n#include <hdf5.h>\n',
        "kernels/a/a.h": "#pragma once\n",
        "kernels/a/a_cuda.cu": '#include "kernels/a/a.h"\n#include <cuda_runtime.h>\n',
        "trainer/probe.h": '#pragma once\n#include "io/h5.h"\n',
        "trainer/loop.h": "#pragma once\n",
        "analysis/metrics.h": '#pragma once\n#include "trainer/probe.h"\n',
        "models/m.h": '#pragma once\n#include "kernels/a/a.h"\n',
        "data/d.h": "#pragma once\n",
        "configs/reader.cpp": '#include <yaml-cpp/yaml.h>\n#include "models/m.h"\n',
    }
    assert problems(clean) == [], problems(clean)
    bad = [
        ("kernels/a/b.cpp", '#include "models/m.h"\n', "kernels may include only"),
        ("data/e.cpp", '#include "models/m.h"\n', "data may include only"),
        ("models/e.cpp", '#include "data/d.h"\n', "models may include only"),
        ("io/e.cpp", '#include "kernels/a/a.h"\n', "io may include only"),
        ("analysis/e.cpp", '#include "trainer/loop.h"\n', "analysis may include only"),
        ("trainer/e.cpp", '#include "analysis/metrics.h"\n', "trainer may include only"),
        ("models/e.cpp", '#  include "cli/missing.h"\n', "no such file"),
        ("models/e.cpp", "#include <hdf5.h>\n", "only io/* may"),
        ("trainer/e.cpp", "#include <yaml-cpp/yaml.h>\n", "only configs/* may"),
        ("trainer/e.cpp", "#include <mpi.h>\n", "only trainer/dist/* may"),
        ("trainer/dist/e.cpp", "#include <nccl.h>\n", "only trainer/dist/nccl.cu may"),
        ("kernels/a/e.cpp", "#include <cuda_runtime.h>\n", "only *.cu and *.cuh may"),
        ("models/e.cpp", "#include <kernels/a/a.h>\n", "with quotes"),
        ("kernels/a/a.h", '#include "kernels/a/b.h"\n', "no such file"),
    ]
    for path, text, message in bad:
        found = problems(clean | {path: text})
        assert any(path in line and message in line for line in found), (path, text, found)
    circle = {"io/a.h": '#include "io/b.h"\n', "io/b.h": '#include "io/a.h"\n'}
    assert any("circle" in line for line in problems(circle)), problems(circle)
    assert not cycles({part: [p for p in others if p in PARTS] for part, others in MAY_INCLUDE.items()}), "the table has a circle"


if __name__ == "__main__":
    self_test()
    tree = files()
    sys.exit(report(pathlib.Path(__file__).stem, problems(tree), len(tree)))
