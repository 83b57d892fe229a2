"""Lets transformers 4.51 run on Debian 12's PyTorch 1.13: what it names at import that came with PyTorch 2, and what it needs of
those to make, save and load a model on the CPU. Import it before transformers; with PyTorch 2 it does nothing."""

import sys
import types

import torch


def _named_parameters(own):
    def named_parameters(self, prefix="", recurse=True, remove_duplicate=True):
        if remove_duplicate:
            yield from own(self, prefix, recurse)
            return
        modules = self.named_modules(prefix=prefix, remove_duplicate=False) if recurse else [(prefix, self)]
        for path, module in modules:
            for key, value in module._parameters.items():
                if value is not None:
                    yield (f"{path}.{key}" if path else key), value

    return named_parameters


def _load_state_dict(own):
    def load_state_dict(self, state, strict=True, assign=False):
        if not assign:
            return own(self, state, strict)
        for name, value in state.items():
            path, _, key = name.rpartition(".")
            module = self.get_submodule(path)
            if key in module._parameters:
                module._parameters[key] = torch.nn.Parameter(value, requires_grad=value.is_floating_point())
            else:
                module._buffers[key] = value
        return None

    return load_state_dict


def _install():
    for name, classes in (("tensor", ["DTensor", "Placement", "Replicate", "Shard"]), ("device_mesh", ["DeviceMesh"])):
        module = types.ModuleType(f"torch.distributed.{name}")
        for each in classes:
            setattr(module, each, type(each, (), {}))
        sys.modules[module.__name__] = module
        setattr(torch.distributed, name, module)
    torch.compiler = types.SimpleNamespace(
        disable=lambda f=None, recursive=True: f if f else (lambda g: g), is_compiling=lambda: False)
    for dtype in ("float8_e4m3fn", "float8_e5m2", "uint16", "uint32", "uint64"):
        setattr(torch, dtype, object())
    torch.nn.Module.named_parameters = _named_parameters(torch.nn.Module.named_parameters)
    torch.nn.Module.load_state_dict = _load_state_dict(torch.nn.Module.load_state_dict)


if int(torch.__version__.split(".")[0]) < 2:
    _install()
