#!/usr/bin/env python3
"""Steps that go wrong, and steps that are run again, on several ranks. A step is run again with its bits on as many ranks, and within
rounding on others. A sample of one rank that makes its loss or gradient not finite leaves the step unapplied on all of them; the record
names the place and the rank, and each policy goes on as it does on one rank. A loss spike is told once."""

import json
import shutil
import tempfile

import harness
import ranks_home
from ranks_home import Home, differences, ours, samples

DIVERGED, SEQUENCES = 4, 7
WORLDS = ((2, "none"), (2, "parameters"), (3, "none"), (3, "parameters"))
report = harness.Report()
ranks_home.skip_without_mpi()


def close(a, b, tolerance):
    return abs(a - b) <= tolerance * max(abs(a), abs(b))


def share(total, rank, world):
    return range(rank * total // world, (rank + 1) * total // world)


def replayed(home, world, name, step, **keys):
    out, _ = home.train(world, name, "--replay", step, **keys)
    return out, json.loads((home.folder / name / f"replays/step_{step:08d}.json").read_text())


def runs_again(home):
    """The step has its bits on as many ranks; on others it differs by rounding."""
    keys = dict(home.small, system__precision="f32", train__steps=9, checkpoint__every_steps=4, checkpoint__keep=9)
    for world, kind in ((3, "none"), (2, "parameters"), (3, "parameters")):
        name = f"run_{world}_{kind}"
        home.train(world, name, system__shard=kind, **keys)
        run = home.steps(name)
        for step, checkpoint in ((7, 4), (3, 0)):
            what = f"step {step} of {name}"
            _, found = replayed(home, world, name, step, system__shard=kind, **keys)
            line = run[step - 1]
            report.check((found["loss"], found["grad_norm"]) == (line["loss"], line["grad_norm"]), f"{what}: the same bits: {found}, {line}")
            report.check((found["checkpoint"], found["ranks"]) == (checkpoint, world), f"{what}: {found}")
            draws = {each["draw"]: each["rank"] for each in found["sequences"]}
            want = {(step - 1) * SEQUENCES + s: rank for rank in range(world) for s in share(SEQUENCES, rank, world)}
            report.check(draws == want, f"{what}: each sequence once, by its rank: {draws}")
            mean = sum(each["loss"] for each in found["sequences"]) / SEQUENCES
            report.check(close(mean, line["loss"], 1e-5), f"{what}: the mean of the sequences is {mean}")
            out, alone = replayed(home, 1, name, step, system__shard=kind, **keys)
            report.check(("ranks: " in out) == (checkpoint > 0), f"{what}: another number of ranks is told: {out}")
            report.check(close(alone["loss"], line["loss"], 1e-5), f"{what} on one rank: {alone['loss']}, {line}")
            for part, of in (("modules", ["output"]), ("parameters", ["value", "gradient"])):
                report.check(len(alone[part]) == len(found[part]) > 0, f"{what}: {part}")
                for a, b in zip(alone[part], found[part]):
                    same = all(close(a[each][key], b[each][key], 1e-4) for each in of for key in ("max", "rms"))
                    report.check(same and a.get("path") == b.get("path") and a.get("name") == b.get("name"), f"{what}: {a} alone, {b}")
    _, moved = replayed(home, 2, "run_3_none", 7, system__shard="optimizer", **keys)
    report.check(close(moved["loss"], home.steps("run_3_none")[6]["loss"], 1e-5), "three ranks' step on two of another kind of shards")

    # Fewer sequences than ranks: rank 0 has none.
    few = dict(keys, train__batch_tokens=2 * 24, train__steps=4, system__shard="parameters")
    home.train(3, "few", **few)
    _, found = replayed(home, 3, "few", 3, **few)
    report.check(found["loss"] == home.steps("few")[2]["loss"] and [each["rank"] for each in found["sequences"]] == [1, 2], f"few: {found}")
    report.check(len(found["modules"]) == len(moved["modules"]), "few: modules")

    _, err = home.train(3, "few", "--replay", 5, code=2, **few)
    report.check(len(ours(err)) == 1 and "--replay 5: the run has 4 steps" in err, f"a step that is not there: {err}")


def mark_documents(home):
    """Puts some Z, which no other document has, into those of a shard."""
    shard = next(path for path in (home.folder / "data").iterdir() if path.suffix == ".jsonl")
    records = [json.loads(line) for line in shard.read_text().splitlines()]
    for record in records:
        for at in range(249, len(record["text"]), 250):
            record["text"] = record["text"][:at] + "Z" + record["text"][at + 1 :]
    shard.write_text("".join(json.dumps(record) + "\n" for record in records))


def at_step_4(home, name, poison=None):
    """The run `whole` as it was at step 4, where its weights are made others."""
    run = home.folder / name
    shutil.copytree(home.folder / "whole", run, symlinks=True)
    for checkpoint in (run / "checkpoints").glob("step_*"):
        if checkpoint.name > "step_00000004":
            shutil.rmtree(checkpoint)
    (run / "checkpoints/latest").unlink()
    (run / "checkpoints/latest").symlink_to("step_00000004")
    if poison:
        import h5py  # noqa: PLC0415

        with h5py.File(run / "checkpoints/step_00000004/rank_0000.h5", "r+") as file:
            poison(file["weights"])
        harness.seal(run / "checkpoints/step_00000004")
    return run


def without_samples_of(home, name, steps):
    """The run at step 4, sound, whose data has gone on by so many steps."""
    run = at_step_4(home, name)
    file = run / "checkpoints/step_00000004/state.json"
    state = json.loads(file.read_text())
    del state["state_crc32c"]  # as older checkpoints have none
    later = json.loads((home.folder / f"whole/checkpoints/step_{4 + steps:08d}/state.json").read_text())
    file.write_text(json.dumps(state | {"data": later["data"], "skipped": steps}))


def nan_embedding(weights):
    weights["model.embed_tokens.weight"][ord("Z")] = float("nan")


def steep_gate(weights):
    """A hidden unit that Z alone makes large, behind a gate that is zero: all of the forward is finite, a gradient is not."""
    channel, unit = 5, 7
    weights["model.embed_tokens.weight"][:, channel] = 0
    weights["model.embed_tokens.weight"][ord("Z"), channel] = 1
    weights["model.layers.0.self_attn.o_proj.weight"][channel] = 0
    weights["model.layers.0.mlp.gate_proj.weight"][unit] = 0
    weights["model.layers.0.mlp.up_proj.weight"][unit] = 0
    weights["model.layers.0.mlp.up_proj.weight"][unit, channel] = 1e200


def records(home, name):
    return [json.loads(line) for line in (home.folder / name / "divergences.jsonl").read_text().splitlines()]


def without_place(found):
    return [{key: value for key, value in record.items() if key != "where"} for record in found]


def place(module, slots, world):
    """As a record names it, where these sequences of the step lead to it."""
    return f"{module} on rank {min(rank for rank in range(world) if set(share(SEQUENCES, rank, world)) & slots)}"


def state_of(checkpoint):
    """Weights and moments, whatever the ranks that they lie with."""
    return {file.name: file.read_bytes() for file in checkpoint.glob("rank_*.h5")}


def diverges(home):
    """On the samples of one rank."""
    small = dict(home.small, system__precision="f64", train__steps=16, checkpoint__every_steps=1, checkpoint__keep=99)
    home.train(1, "whole", **small)
    policies = {"skip": dict(small, train__on_divergence="skip"),
                "rollback": dict(small, train__on_divergence="rollback", checkpoint__every_steps=4)}  # fmt: skip
    for policy, keys in policies.items():
        at_step_4(home, f"{policy}_1", nan_embedding)
        home.train(1, f"{policy}_1", "--resume", **keys)
    actions = [(each["step"], each["samples"]["data_step"], each["action"]) for each in records(home, "skip_1")]
    report.check(actions == [(5, 4, "skip"), (8, 7, "skip")], f"skip on one rank: {actions}")
    actions = [(each["step"], each["samples"]["data_step"], each["action"]) for each in records(home, "rollback_1")]
    report.check(actions == [(5, 4, "rollback to step 4"), (7, 7, "rollback to step 4")], f"rollback on one rank: {actions}")
    slots = {}  # of the sequences that have a Z, by step of the data
    for step in (5, 8):
        _, found = replayed(home, 1, "skip_1", step, **policies["skip"])
        slots[step - 1] = {each["draw"] % SEQUENCES for each in found["sequences"] if each["loss"] is None}
        report.check(0 < len(slots[step - 1]) < 4, f"sequences of step {step} with a Z: {slots}")

    for world, kind in WORLDS:
        for policy, keys in policies.items():
            name, alone = f"{policy}_{world}_{kind}", f"{policy}_1"
            at_step_4(home, name, nan_embedding)
            keys = dict(keys, system__shard=kind)
            out, _ = home.train(world, name, "--resume", **keys)
            found, steps = records(home, name), home.steps(name)
            report.check(without_place(found) == without_place(records(home, alone)), f"{name}: records {found}")
            report.check(out.count("first in model.layers.0.input_layernorm on rank ") == len(found), f"{name}: told once each: {out}")
            for each in found:
                want = place("model.layers.0.input_layernorm", slots[each["samples"]["data_step"]], world)
                report.check(each["where"] == want, f"{name}: {each['where']}, not {want}")
            report.check([each["step"] for each in steps] == [each["step"] for each in home.steps(alone)], f"{name}: steps")
            report.check(samples(steps) == samples(home.steps(alone)), f"{name}: the samples of one rank")
            report.check(differences(steps, home.steps(alone)) < 1e-11, f"{name}: the losses of one rank")
        checkpoints = home.folder / f"skip_{world}_{kind}/checkpoints"
        report.check(not (checkpoints / "step_00000008").exists(), f"{name}: a step that is skipped is not saved")
        report.check(state_of(checkpoints / "step_00000007") != state_of(checkpoints / "step_00000009"), f"{name}: the next one is another")
        ends = f"ends_{world}_{kind}"  # with such a step, which is saved for that
        at_step_4(home, ends, nan_embedding)
        home.train(world, ends, "--resume", **dict(policies["skip"], system__shard=kind, train__steps=8))
        before, after = (state_of(home.folder / ends / f"checkpoints/step_0000000{step}") for step in (7, 8))
        report.check(len(before) == world and before == after, f"{name}: a step that is skipped changes nothing")
        keys = dict(policies["rollback"], system__shard=kind)
        for step, where in ((6, None), (7, records(home, name)[1]["where"])):
            _, found = replayed(home, world, name, step, **keys)
            same = found["loss"] == (None if where else next(each["loss"] for each in home.steps(name) if each["step"] == step))
            report.check(same and found.get("where") == where, f"{name}: step {step} is the last of it, or the one that diverged: {found}")
        sound = f"sound_{world}_{kind}"
        without_samples_of(home, sound, 4)
        home.train(world, sound, "--resume", **dict(small, system__shard=kind))
        losses = [[(each["step"], each["loss"], each["grad_norm"], each["samples"]) for each in home.steps(run)] for run in (sound, name)]
        report.check(losses[0] == losses[1], f"{name}: the bits of a run without the samples: {losses}")

        name = f"stop_{world}_{kind}"
        at_step_4(home, name, nan_embedding)
        keys = dict(policies["skip"], system__shard=kind)
        _, err = home.train(world, name, "--resume", code=DIVERGED, **dict(keys, train__on_divergence="stop"))
        report.check(len(ours(err)) == 1 and place("input_layernorm", slots[4], world) in err, f"{name}: {err}")
        report.check([each["action"] for each in records(home, name)] == ["stop"], f"{name}: {records(home, name)}")
        report.check(home.steps(name)[-1]["step"] == 4, f"{name}: the last step is the one before")
        out, found = replayed(home, world, name, 5, **keys)
        where = records(home, name)[0]["where"]
        report.check(found["where"] == where and f"not finite first in {where}" in out, f"{name}: run again: {found['where']}")
        ranks = {each["rank"] for each in found["sequences"] if each["loss"] is None}
        first = next(each for each in found["modules"] if each["output"]["not_finite"] > 0)
        report.check(min(ranks) == first["rank"] and len(ranks) < world, f"{name}: ranks {ranks}, {first}")
        _, err = home.train(world, name, "--resume", code=DIVERGED, **dict(keys, train__max_divergences=1))
        report.check(len(ours(err)) == 1 and "after 1 that were passed over" in err, f"{name}: limit: {err}")
        report.check([each.get("action", each["kind"]) for each in records(home, name)] == ["stop", "resumed", "skip", "stop"], f"{name}: limit")

        name = f"steep_{world}_{kind}"
        at_step_4(home, name, steep_gate)
        _, err = home.train(world, name, "--resume", code=DIVERGED, **dict(small, system__shard=kind, train__optimizer__lr=1e-40))
        found = records(home, name)[0]
        want = place("the gradient of model.layers.0.mlp.gate_proj.weight", slots[4], world)
        report.check(found["where"] == want and found["loss"] > 0, f"{name}: {found}, not {want}")


def spikes(home):
    """Almost without learning, so that losses differ by their samples alone."""
    keys = dict(home.small, system__precision="f64", train__steps=60, train__optimizer__lr=1e-9, metrics__loss_spike_deviations=1)
    for world, kind in ((1, "none"), (2, "parameters"), (3, "none")):
        out, _ = home.train(world, f"spikes_{world}", system__shard=kind, **keys)
        found, alone = records(home, f"spikes_{world}"), records(home, "spikes_1")
        report.check(len(found) == len(alone) > 0, f"spikes on {world}: {len(found)}, alone {len(alone)}")
        report.check(out.count("standard deviations above the mean") == len(found), f"spikes on {world}: one warning each: {out}")
        report.check(len(home.steps(f"spikes_{world}")) == 60, f"spikes on {world}: all steps")
        for a, b in zip(alone, found):
            same = all(a[key] == b[key] for key in ("step", "kind", "samples", "action")) and a["kind"] == "loss_spike"
            report.check(same and close(a["deviations"], b["deviations"], 1e-8), f"spikes on {world}: {b}, alone {a}")


with tempfile.TemporaryDirectory() as temporary:
    home = Home(temporary, report)
    mark_documents(home)
    runs_again(home)
    diverges(home)
    spikes(home)
report.end()
