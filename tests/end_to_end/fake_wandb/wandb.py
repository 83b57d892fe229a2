"""Stands in for wandb in wandb_follow_test.py: notes what it is told in the file FAKE_WANDB, a JSON line a call."""

import json
import os
import time

TOLD = os.environ.get("FAKE_WANDB", os.devnull)


def tell(**what):
    with open(TOLD, "a") as file:
        file.write(json.dumps(what) + "\n")


class Settings:
    def __init__(self, **keys):
        self.keys = keys


class Config:
    def update(self, values, allow_val_change=False):
        tell(call="config", values=values, may_change=allow_val_change)


class Run:
    def __init__(self, run_id):
        self.id, self.config = run_id, Config()
        self.step = int(os.environ.get("FAKE_WANDB_STEP", 0))

    def log(self, values, step, commit):
        tell(call="log", step=step, values=values, commit=commit)
        if os.environ.get("FAKE_WANDB_DIES_AT") == str(step):
            os._exit(9)

    def finish(self):
        time.sleep(float(os.environ.get("FAKE_WANDB_FINISH", 0)))
        tell(call="finish")


def init(id, settings, **keys):  # noqa: A002  # wandb's own name
    if os.environ.get("FAKE_WANDB_REFUSES"):
        raise RuntimeError("api_key not configured (no-tty)")
    tell(call="init", id=id, **keys)
    return Run(id)
