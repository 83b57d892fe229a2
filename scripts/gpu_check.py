#!/usr/bin/env python3
"""What only a GPU can show, in sections in the order of their value. Called by gpu_check.sh.

    gpu_check.sh [--only SECTION]... [--budget SECONDS] [--out FILE] [--binary PATH] [--shapes full|tiny]

sections:
  tests      unit tests on the GPU; 20 steps of training in f32 and bf16 against the CPU's
  kernels    every kernel beside the copy rate and the matrix rate of the same run
  mfu        training steps of configs/benchmark: 7B, 1B, 125M at T = 1024 and 4096
  memory     what those took of the GPU, beside what `spikesink plan` predicts
  pytorch    loss and gradients against PyTorch; tokens/s beside PyTorch's
  metrics    what a probe costs of a run's time
  sanitizer  every kernel under compute-sanitizer, where it is installed
"""
import argparse
import json
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from gpu_check_table import table

ROOT = Path(__file__).resolve().parents[1]
SECTION_SECONDS = 540  # under ten minutes

MFU = {  # config: settings that are tried until one fits; that is the figure
    "7b_t1024": [[], ["system.recompute=layer"]],
    "7b_t4096": [[], ["system.recompute=layer"]],
    "1b_t1024": [[], ["system.recompute=cheap"]],
    "1b_t4096": [[], ["system.recompute=cheap"]],
    "125m_t1024": [[], ["train.micro_batch=32"]],
    "125m_t4096": [[], ["train.micro_batch=8"]],
}  # fmt: skip
ANY_ORDER = "any_order_"  # before the name: with sums in the order of arrival
for name in ("7b_t1024", "7b_t4096", "125m_t1024", "125m_t4096", "1b_t4096"):
    MFU[ANY_ORDER + name] = [[*settings, "system.deterministic=false"] for settings in MFU[name]]
TEST_PROGRAMS = {"test_cuda": [], "test_kernels": ["[add]"], "test_models": ["[models][grad]"], "test_trainer": ["[trainer][schedule]"]}
TINY = ["model.n_layers=1", "model.context=32", "train.batch_tokens=64", "train.micro_batch=1", "metrics.sequences=2"]


class OutOfTime(Exception):
    """The budget is spent; what it was spent on is said by its text."""


def libraries_of_pytorch():
    """Folders of CUDA's libraries in the Python packages that this Python sees, without importing any."""
    folders = []
    for base in map(Path, sys.path):
        for pattern in ("nvidia/*/lib", "torch/lib"):
            folders += sorted(str(f) for f in base.glob(pattern) if f.is_dir())
    for base in ("/usr/local/cuda/lib64", "/usr/local/cuda/lib"):
        if Path(base).is_dir():
            folders.append(base)
    return list(dict.fromkeys(folders))


def environment(binary):
    """With CUDA's libraries; and with the package's C++ library where the node's is too old for the program."""
    env = dict(os.environ)
    env["LD_LIBRARY_PATH"] = os.pathsep.join(filter(None, [*libraries_of_pytorch(), env.get("LD_LIBRARY_PATH")]))
    if binary.exists() and (ROOT / "lib/gcc").is_dir() and subprocess.run([binary, "--version"], env=env, capture_output=True).returncode:
        env["LD_LIBRARY_PATH"] = os.pathsep.join([str(ROOT / "lib/gcc"), env["LD_LIBRARY_PATH"]])
    return env


class Done:
    def __init__(self, code, out, err, seconds, timed_out):
        self.code, self.out, self.err, self.seconds, self.timed_out = code, out, err, seconds, timed_out

    def why(self):
        """The last words of a failure."""
        lines = [line for line in (self.err + "\n" + self.out).splitlines() if line.strip()]
        own = [line for line in self.err.splitlines() if line.startswith("spikesink: ")]
        return (own or lines or [f"exit code {self.code}"])[-1][:400]

    def json_lines(self):
        found = []
        for line in self.out.splitlines():
            if line.startswith("{"):
                try:
                    found.append(json.loads(line))
                except json.JSONDecodeError:
                    pass  # cut off by the time limit
        return found


class Check:
    def __init__(self, options):
        self.options, self.out = options, Path(options.out)
        self.binary = Path(options.binary).resolve()
        self.tiny = options.shapes == "tiny"
        self.device_args = [] if options.device == "cuda" else ["--set", f"system.device={options.device}"]
        self.env = environment(self.binary)
        self.begin = self.section_begin = None  # once there is something to check
        self.results = {"mfu": {}, "sections": {}, "unfinished": []}
        if self.out.exists():
            try:
                self.results.update(json.loads(self.out.read_text()))
            except (json.JSONDecodeError, ValueError) as fault:
                sys.exit(f"gpu_check: {self.out}: not the JSON of an earlier call ({fault}); give another --out")

    # ---- time and files
    def left(self):
        """Seconds that are left to the section."""
        if self.begin is None:
            return SECTION_SECONDS
        now = time.monotonic()
        return min(self.options.budget - (now - self.begin), SECTION_SECONDS - (now - self.section_begin))

    def write(self):
        text = json.dumps(self.results, indent=1) + "\n"
        temporary = self.out.with_name(self.out.name + ".tmp")
        temporary.write_text(text)
        temporary.replace(self.out)

    def unfinished(self, what, reason):
        self.results["unfinished"].append(f"{what} ({reason})")

    def section(self, name):
        return self.results["sections"].setdefault(name, {})

    def run(self, what, command, limit=None):
        """Runs a program within the section's time. OutOfTime if there is none left, or it was cut off without output."""
        limit = min(self.left(), limit or SECTION_SECONDS)
        if limit < (0.2 if self.tiny else 5):
            raise OutOfTime(what)
        begin = time.monotonic()
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            child = subprocess.Popen([str(part) for part in command], stdout=out, stderr=err, cwd=ROOT, env=self.env,
                                     start_new_session=True)  # fmt: skip
            timed_out = False
            try:
                child.wait(limit)
            except subprocess.TimeoutExpired:
                timed_out = True
            finally:
                if child.poll() is None:
                    os.killpg(child.pid, signal.SIGKILL)  # its own group only
                    child.wait()
            texts = []
            for file in (out, err):
                file.seek(0)
                texts.append(file.read())
        return Done(child.returncode, *texts, time.monotonic() - begin, timed_out)

    def program(self, name):
        """A test program beside the binary: in a package's bin/, or in tests/ of a build."""
        for place in (self.binary.parent / name, self.binary.parent / "tests" / name):
            if place.exists():
                return place
        return None

    def sets(self, settings):
        return [part for setting in settings for part in ("--set", setting)]

    # ---- before all
    def probe_device(self):
        """The machine, or its absence: one line and exit code 2."""
        if not self.binary.exists():
            sys.exit(f"gpu_check: no program {self.binary}; unpack a package of scripts/package.sh, or name one with --binary")
        done = self.run("device", [self.binary, "bench", "kernels", "--json", "--sizes", "tiny", "--runs", "1", "--only",
                                   "add", *self.device_args, *(() if self.device_args else ("--set", "system.device=cuda"))],
                        limit=120)  # fmt: skip
        if done.code != 0 or not done.json_lines():
            print(f"gpu_check: nothing to check here: {done.why().removeprefix('spikesink: ')}", file=sys.stderr)
            sys.exit(2)
        machine = done.json_lines()[0]
        self.results["hardware"] = {"device": machine["device"], "cpu": cpu_name(), "system": platform.platform(),
                                    "driver": self.driver()}  # fmt: skip
        self.results["date"] = time.strftime("%Y-%m-%d")
        revision = ROOT / "revision"
        if revision.exists():
            self.results["revision"] = revision.read_text().strip()
        if machine.get("cudnn_device_properties"):
            self.results["cudnn_device_properties"] = machine["cudnn_device_properties"]
        self.write()

    def driver(self):
        try:
            query = ["nvidia-smi", "--query-gpu=name,driver_version,power.limit,memory.total", "--format=csv,noheader"]
            return subprocess.run(query, capture_output=True, text=True, timeout=30).stdout.strip().splitlines()[0]
        except (OSError, IndexError, subprocess.TimeoutExpired):
            return None

    # ---- sections
    def tests(self):
        mine = self.section("tests")
        with ThreadPoolExecutor() as together:  # the GPU waits for the CPU's references most of the time
            running = {}
            for name, few in TEST_PROGRAMS.items():
                if program := self.program(name):
                    running[name] = together.submit(self.run, name, [program, *(few if self.tiny else [])])
                else:
                    mine[name] = {"skipped": "not built"}
        for name, run in running.items():
            done = run.result()
            if done.timed_out:
                self.unfinished(f"tests: {name}", f"{done.seconds:.0f} s")
            mine[name] = {**count_cases(done.out), "seconds": round(done.seconds, 1)}
            if (done.code or not mine[name]["passed"] + mine[name]["skipped"]) and not done.timed_out:
                mine[name]["failure"] = failures(done.out) or done.why()
        self.write()
        self.parity(mine.setdefault("parity", {}))

    def parity(self, mine):
        """Training of the same samples on the CPU and on the GPU."""
        sys.path.insert(0, str(ROOT / "tests/end_to_end"))
        import harness

        steps = 2 if self.tiny else 20
        device = self.options.device
        with tempfile.TemporaryDirectory() as home:
            corpus = self.data() or harness.write_corpus(Path(home) / "data", documents=60 if self.tiny else 400)

            def losses(name, settings):
                keys = [f"data.train=[{corpus}]", "data.holdout=0.1", f"run.dir={home}", f"run.name={name}",
                        f"train.steps={steps}", "train.schedule.warmup_steps=5", "metrics.every_steps=1",
                        "metrics.probe_every_steps=0", "metrics.sequences=2", "metrics.loggers=[jsonl]",
                        "checkpoint.every_steps=1000000", *(TINY[:4] if self.tiny else [])]  # fmt: skip
                done = self.run(f"parity: {name}", [self.binary, "train", ROOT / "configs/cpu/tiny.yaml",
                                                    *self.sets([*keys, *settings])])  # fmt: skip
                if done.timed_out:
                    raise OutOfTime(f"parity: {name}")
                if done.code:
                    raise RuntimeError(done.why())
                lines = [json.loads(line) for line in (Path(home) / name / "metrics.jsonl").read_text().splitlines()]
                return [line["loss"] for line in lines if "event" not in line]

            want = losses("reference", ["system.device=cpu", "system.precision=f32"])
            cases = {"f32": (["system.precision=f32"], 1e-4)}
            if device == "cuda":
                cases["bf16"] = (["system.precision=bf16"], 2e-2)
                cases["bf16_state"] = (["system.precision=bf16", "system.state_precision=bf16"], 2e-2)
            for name, (settings, tolerance) in cases.items():
                got = losses(f"{device}_{name}", [f"system.device={device}", *settings])
                worst = max(abs(a - b) / b for a, b in zip(got, want))
                mine[name] = {"steps": len(got), "largest_difference": worst, "tolerance": tolerance,
                              "passed": worst <= tolerance and len(got) == steps}  # fmt: skip
                self.write()

    def data(self):
        shards = sorted((ROOT / "data").glob("*.jsonl*")) if (ROOT / "revision").exists() else []
        return ", ".join(map(str, shards))

    def kernels(self):
        mine = self.section("kernels")
        for precision in ("bf16", "f32") if self.options.device == "cuda" else ("f32",):
            command = [self.binary, "bench", "kernels", "--json", *self.device_args, "--set", f"system.precision={precision}"]
            if self.tiny:
                command += ["--sizes", "tiny", "--runs", "1"]
            done = self.run(f"kernels: {precision}", command)
            lines = done.json_lines()
            if done.timed_out:
                last = lines[-1] if len(lines) > 1 else {}
                self.unfinished(f"kernels: {precision} after {last.get('kernel')} {last.get('what')}", f"{done.seconds:.0f} s")
            elif done.code:
                mine[f"{precision}_failure"] = done.why()
            if lines:
                rates = {k: v for k, v in lines[0].items() if k != "cudnn_device_properties"}
                mine[precision] = {"rates": rates, "figures": lines[1:]}
            self.write()

    def configs(self):
        """{name: (config, tries)}"""
        if self.tiny:
            return {"tiny": (ROOT / "configs/cpu/tiny.yaml", [TINY])}
        return {name: (ROOT / f"configs/benchmark/{name.removeprefix(ANY_ORDER)}.yaml", tries) for name, tries in MFU.items()}

    def bench(self, what, config, settings, extra=()):
        steps = "1" if self.tiny else "2" if "7b" in config.name else "3"  # a step of the 7B takes seconds
        done = self.run(what, [self.binary, "bench", "train", config, "--json", "--steps", steps,
                               *self.device_args, *self.sets(settings), *extra])  # fmt: skip
        if done.timed_out:
            raise OutOfTime(what)
        return done

    def mfu(self):
        mine = self.section("mfu")
        for name, (config, tries) in self.configs().items():
            runs = mine.setdefault(name, {})
            for settings in tries:
                key = " ".join(settings) or "as configured"
                if name in self.results["mfu"]:
                    break  # of an earlier call, or the setting before
                done = self.bench(f"mfu: {name} {key}", config, settings)
                runs[key] = done.json_lines()[-1] if done.code == 0 else {"failure": done.why()}
                if done.code == 0:
                    runs[key]["settings"] = settings
                    self.results["mfu"][name] = runs[key]["mfu"]
                self.write()

    def memory(self):
        mine = self.section("memory")
        configs = self.configs()
        if not self.results["sections"].get("mfu"):
            self.mfu()
        for name, runs in self.results["sections"]["mfu"].items():
            if name not in configs:  # how long the section took
                continue
            for key, run in runs.items():
                if "mfu" not in run:
                    continue
                done = self.run(f"memory: {name}", [self.binary, "plan", configs[name][0], "--json", *self.device_args,
                                                    *self.sets(run["settings"])])  # fmt: skip
                if done.code:
                    mine[f"{name} {key}"] = {"failure": done.why()}
                    continue
                predicted = done.json_lines()[-1].get("memory", {}).get("pool_reserved_bytes")
                used = run.get("device_used_bytes") or run["process_peak_bytes"]
                mine[f"{name} {key}"] = {
                    "predicted_bytes": predicted, "pool_peak_bytes": run["pool_peak_bytes"],
                    "pool_reserved_bytes": run["pool_reserved_bytes"], "used_bytes": used,
                    "beside_the_pools_bytes": used - run["pool_reserved_bytes"],
                    "used_over_predicted": used / predicted if predicted else None}  # fmt: skip
                self.write()
        if not mine:
            self.unfinished("memory", "no training step was timed")

    def pytorch(self):
        mine = self.section("pytorch")
        dump, compare = self.program("reference_dump"), ROOT / "tests/reference/compare_cuda.py"
        if not self.python_has_torch():
            mine["skipped"] = f"no PyTorch in {sys.executable}"
            return
        if dump and self.options.device == "cuda":
            with tempfile.NamedTemporaryFile(suffix=".json") as found:
                done = self.run("pytorch: parity", [sys.executable, compare, dump, "--json", found.name,
                                                    *(["baseline"] if self.tiny else [])])  # fmt: skip
                text = Path(found.name).read_text()
            mine["parity"] = json.loads(text) if text else {"failure": done.why()}
            mine["parity_summary"] = done.out.splitlines()[-1] if done.out and not done.timed_out else done.why()
            if done.timed_out:
                self.unfinished("pytorch: parity", f"{done.seconds:.0f} s")
            self.write()
        if self.tiny:
            return
        for name in ("125m_t1024", "1b_t1024", "1b_t4096"):
            with tempfile.NamedTemporaryFile(suffix=".json") as found:
                done = self.run(f"pytorch: speed of {name}", [
                    sys.executable, ROOT / "benchmarks/vs_pytorch.py", "--program", self.binary, "--rounds", "1", "--config",
                    ROOT / f"configs/benchmark/{name}.yaml", "--json", found.name])  # fmt: skip
                text = Path(found.name).read_text()
            if done.timed_out:
                raise OutOfTime(f"pytorch: speed of {name}")
            mine.setdefault("speed", {})[name] = json.loads(text) if text else {"failure": done.why()}
            self.write()

    def python_has_torch(self):
        return self.run("pytorch", [sys.executable, "-c", "import torch"], limit=120).code == 0

    def metrics(self):
        """A probe's time beside that of the steps of a real run between two probes."""
        mine = self.section("metrics")
        runs = {"tiny": ("configs/cpu/tiny.yaml", "configs/cpu/tiny.yaml")} if self.tiny else {
            name: (f"configs/benchmark/{name}_t4096.yaml", f"configs/llama/{name}.yaml") for name in ("1b", "125m", "7b")}  # fmt: skip
        for name, (config, real) in runs.items():
            fits = [r for r in self.results["sections"].get("mfu", {}).get(Path(config).stem, {}).values() if "mfu" in r]
            settings = TINY if self.tiny else max(fits, key=lambda r: r["mfu"])["settings"] if fits else []
            done = self.bench(f"metrics: {name}", ROOT / config, settings, ["--probe"])
            if done.code:
                mine[name] = {"failure": done.why()}
                continue
            bench = done.json_lines()[-1]
            plan = self.run(f"metrics: {name}", [self.binary, "plan", ROOT / real, "--json"])
            interval = 500  # metrics.probe_every_steps
            steps = interval * plan.json_lines()[-1]["tokens_per_step"] / bench["tokens_per_second"]
            mine[name] = {"probe_seconds": bench["probe_seconds"], "sequences": bench["probe_sequences"],
                          "context": bench["context"], "seconds_between_probes": steps,
                          "share": bench["probe_seconds"] / (steps + bench["probe_seconds"])}  # fmt: skip
            self.write()

    def sanitizer(self):
        mine = self.section("sanitizer")
        tool = next((t for t in ("compute-sanitizer", "/usr/local/cuda/bin/compute-sanitizer")
                     if subprocess.run(["sh", "-c", f"command -v {t}"], capture_output=True).returncode == 0), None)  # fmt: skip
        if not tool or self.options.device != "cuda":
            mine["skipped"] = "no compute-sanitizer" if not tool else "no GPU"
            return
        for check in ("memcheck", "racecheck", "initcheck"):
            done = self.run(f"sanitizer: {check}", [tool, "--tool", check, "--error-exitcode", "9", self.binary, "bench",
                                                    "kernels", "--sizes", "tiny", "--runs", "1", "--json"])  # fmt: skip
            summary = re.findall(r"SUMMARY: (.*)", done.out + done.err)
            mine[check] = {"summary": summary[-1] if summary else done.why(), "passed": done.code == 0}
            if done.timed_out:
                self.unfinished(f"sanitizer: {check}", f"{done.seconds:.0f} s")
            elif done.code:
                mine[check]["output"] = (done.out + done.err)[-3000:]
            self.write()

    # ---- all of it
    def check(self, names):
        self.begin = time.monotonic()
        waiting = list(names)
        earlier = [line for line in self.results["unfinished"] if line.split(":")[0].split(" ")[0] not in names]
        notes = []
        for name in names:
            self.results["unfinished"] = earlier + notes + [f"{n} (not begun)" for n in waiting]
            self.write()
            waiting.remove(name)
            self.results["unfinished"] = earlier + list(notes)
            self.section_begin = time.monotonic()
            reason = None
            try:
                getattr(self, name)()
            except OutOfTime as fault:
                reason = "out of time" if str(fault).startswith(name) else f"out of time at {fault}"
                self.unfinished(str(fault) if str(fault).startswith(name) else f"{name}: {fault}", "out of time")
            except (RuntimeError, OSError, KeyError, IndexError, ValueError) as fault:
                reason = f"{type(fault).__name__}: {fault}"
                self.section(name)["failure"] = reason
                self.unfinished(name, "failed")
            notes = self.results["unfinished"][len(earlier):]
            took = time.monotonic() - self.section_begin
            self.section(name)["seconds"] = round(took, 1)
            self.results["unfinished"] = earlier + notes + [f"{n} (not begun)" for n in waiting]
            self.write()
            print(f"{name:10} {took:6.1f} s  {reason or 'done'}", flush=True)


def cpu_name():
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor()


def count_cases(text):
    """What Catch2 says at its end, and what tests say of themselves."""
    skipped = len(re.findall(r"^skipped: ", text, re.M))
    whole = re.search(r"All tests passed \(.* in (\d+) test case", text)
    if whole:
        return {"passed": int(whole[1]) - skipped, "failed": 0, "skipped": skipped}
    line = re.search(r"^test cases:.*$", text, re.M)
    counts = {key: re.search(rf"(\d+) {key}", line[0]) if line else None for key in ("passed", "failed")}
    return {**{key: int(found[1]) if found else 0 for key, found in counts.items()}, "skipped": skipped}


def failures(text):
    """The parts of Catch2's output that tell of failures."""
    return "\n".join(part for part in text.split("\n" + "-" * 79 + "\n") if "FAILED" in part)[-3000:] or text[-3000:]


def has_failed(part):
    """Did a test fail, or a command that should run? A setting that does not fit is no failure where another one does."""
    if not isinstance(part, dict):
        return False
    if any(isinstance(run, dict) and "mfu" in run for run in part.values()):
        return False
    return bool(part.get("failure") or part.get("failed") or part.get("passed") is False or "error" in part) or any(
        map(has_failed, part.values()))  # fmt: skip


SECTIONS = ["tests", "kernels", "mfu", "memory", "pytorch", "metrics", "sanitizer"]


def default_binary():
    packaged = ROOT / "bin/spikesink"
    return packaged if packaged.exists() else ROOT / "build/cuda/spikesink"


def main():
    parser = argparse.ArgumentParser(prog="gpu_check.sh", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--only", action="append", choices=SECTIONS, help="this section alone; may be repeated")
    parser.add_argument("--budget", type=float, default=7 * SECTION_SECONDS, metavar="SECONDS", help="of all sections together")
    parser.add_argument("--out", default="gpu_check.json", metavar="FILE", help="the JSON; what is in it stays (%(default)s)")
    parser.add_argument("--binary", default=default_binary(), help="the spikesink to check (%(default)s)")
    parser.add_argument("--shapes", default="full", choices=["full", "tiny"], help="tiny: only to see that everything runs")
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"], help="cpu: to try the script without a GPU")
    options = parser.parse_args()
    check = Check(options)
    check.probe_device()
    check.check([name for name in SECTIONS if not options.only or name in options.only])
    print(table(check.results))
    print(f"written to {check.out}")
    return 1 if has_failed(check.results["sections"]) else 0


if __name__ == "__main__":
    sys.exit(main())
