"""A Slurm cluster of one node on this machine, for a test: munged, slurmctld and slurmd with keys, sockets, ports and state of
their own, so that a cluster that the machine may have is not touched. As root, without systemd or cgroups."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

PROGRAMS = ["munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "scancel"]
LOGS = ["munged.log", "slurmctld.log", "slurmd.log"]

# Times as short as Slurm takes them. A requeued job waits until the credentials of its last start have expired.
CONFIG = """
ClusterName=spikesink_test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={home}/munge.socket,cred_expire=6
CredType=cred/munge
StateSaveLocation={home}/state
SlurmdSpoolDir={home}/spool
SlurmctldPidFile={home}/slurmctld.pid
SlurmdPidFile={home}/slurmd.pid
SlurmctldLogFile={home}/slurmctld.log
SlurmdLogFile={home}/slurmd.log
SlurmctldDebug=verbose
SlurmdDebug=verbose
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
ReturnToService=2
InactiveLimit=0
KillWait=20
MinJobAge=10
SlurmdParameters=config_overrides
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} CoresPerSocket={cpus} RealMemory=1000 State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def missing():
    """What keeps a cluster from being started here, as a line; empty if nothing does."""
    os.environ["PATH"] = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    lacking = [name for name in PROGRAMS if not shutil.which(name)]
    if lacking:
        return f"no {', '.join(lacking)}: scripts/setup.sh --tests installs slurm-wlm and munge"
    return "" if os.geteuid() == 0 else "Slurm's daemons want to be started by root"


def free_ports(count):
    with contextlib.ExitStack() as open_ones:
        found = [open_ones.enter_context(socket.socket()) for _ in range(count)]
        for one in found:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in found]


class Cluster:
    """A context manager. `env` is the environment in which sbatch, squeue and the others know this cluster."""

    def __init__(self, home, cpus=6, more_config=""):
        self.home = Path(home)
        self.daemons = []
        self.cpus = cpus
        self.more_config = more_config
        self.env = {**os.environ, "SLURM_CONF": str(self.home / "slurm.conf")}

    def __enter__(self):
        for folder in ("state", "spool"):
            (self.home / folder).mkdir(parents=True)
        key = self.home / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        host = socket.gethostname().split(".")[0]
        config = CONFIG.format(host=host, ports=free_ports(2), home=self.home, cpus=self.cpus) + self.more_config
        (self.home / "slurm.conf").write_text(config)
        try:
            munge = {f"--{name}-file": self.home / f"munged.{name}" for name in ("log", "pid", "seed")}
            self.start("munged", "--foreground", "--force", f"--socket={self.home}/munge.socket", f"--key-file={key}",
                       *(f"{option}={path}" for option, path in munge.items()))  # fmt: skip
            self.wait("munged's socket", (self.home / "munge.socket").exists)
            self.start("slurmctld", "-D", "-i", "-f", self.home / "slurm.conf")
            self.wait("slurmctld", lambda: "UP" in self.says("scontrol", "ping"))
            self.start("slurmd", "-D", "-f", self.home / "slurm.conf")
            self.wait("the node", lambda: self.says("sinfo", "--noheader", "--format=%t").strip() == "idle")
        except BaseException:
            self.__exit__(RuntimeError, None, None)
            raise
        return self

    def __exit__(self, kind, value, trace):
        """Ends jobs and daemons, whatever state they are in; on a failure shows what the daemons said."""
        for process in reversed(self.daemons):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(10)
            if process.poll() is None:
                process.kill()
                process.wait()
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if kind is not None:
            self.show_logs()

    def start(self, *line):
        out = open(self.home / f"{line[0]}.out", "wb")
        self.daemons.append(subprocess.Popen([str(word) for word in line], env=self.env, stdin=subprocess.DEVNULL,
                                             stdout=out, stderr=out, start_new_session=True))  # fmt: skip

    def processes(self):
        """All that jobs of this cluster have started, and the daemons' helpers: who has its slurm.conf in the environment."""
        mark = f"\0SLURM_CONF={self.home}/slurm.conf\0".encode()
        found = []
        for folder in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if folder.name.isdigit() and int(folder.name) != os.getpid() and mark in b"\0" + (folder / "environ").read_bytes():
                    found.append(int(folder.name))
        return found

    def says(self, *line):
        done = subprocess.run([str(word) for word in line], env=self.env, capture_output=True, text=True, timeout=60)
        return done.stdout

    def wait(self, what, until, seconds=60):
        end = time.monotonic() + seconds
        while not until():
            for daemon in self.daemons:
                if daemon.poll() is not None:
                    raise RuntimeError(f"{daemon.args[0]} has ended with exit code {daemon.returncode}")
            if time.monotonic() > end:
                raise TimeoutError(f"{what}: not there after {seconds} s")
            time.sleep(0.1)

    def show_logs(self, lines=40):
        for name in [*LOGS, "munged.out", "slurmctld.out", "slurmd.out"]:
            path = self.home / name
            if path.exists() and path.stat().st_size:
                print(f"---- the end of {name}")
                print("\n".join(path.read_text(errors="replace").splitlines()[-lines:]))
