"""From the command line to a configuration such as `TrainConfig`, and from that to JSON and back.

`--config=configs/stage2.py:tiny` calls `get_config("tiny")` of that file; `--config.optimizer.lora=1e-4`
overrides one field of what it returns. Everything a user can get wrong here ends in a `UserError`.
"""

import dataclasses
import difflib
import functools
import importlib.util
import re
import shlex
import traceback
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import ml_collections
from absl import flags
from ml_collections import config_flags

from pvchat_jax.config.schema import TrainConfig
from pvchat_jax.errors import UserError

_Config = TypeVar("_Config")

_KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text", tuple: "a list such as (2,1)"}
_HELP_FLAGS = ("--help", "-help", "-h", "--helpfull", "--helpshort")


def nearest(name: str, options: Iterable[str]) -> str:
    """The member of `options` that `name` most likely stood for.

    A dotted option whose last part is the last part of `name` wins: `lora` finds `optimizer.lora`.
    """
    options = list(options)
    last = name.rsplit(".", 1)[-1]
    same_ending = [option for option in options if option.rsplit(".", 1)[-1] == last]
    return difflib.get_close_matches(name, same_ending or options, n=1, cutoff=0.0)[0]


def choose_preset(preset: str, presets: Mapping[str, Callable[[], _Config]]) -> _Config:
    """`presets[preset]()`, for a config file's `get_config`.

    Raises:
      UserError: there is no such preset.
    """
    if preset not in presets:
        known = ", ".join(presets)
        raise UserError(f"there is no preset '{preset}', did you mean '{nearest(preset, presets)}' (known are {known})?")
    return presets[preset]()


def to_dict(config: Any) -> dict[str, Any]:
    """A nested dict of JSON values, which `from_dict` turns back into an equal dataclass."""
    return {
        field.name: (to_dict(value) if dataclasses.is_dataclass(value) else list(value) if isinstance(value, tuple) else value)
        for field in dataclasses.fields(config)
        for value in [getattr(config, field.name)]
    }


def from_dict(cls: type, values: Mapping[str, Any], *, path: str = "config") -> Any:
    """The dataclass `cls` with `values`; fields that are not given keep their defaults.

    Args:
      cls: `TrainConfig`, or any dataclass made of numbers, text, tuples, None and dataclasses.
      values: nested mapping as `to_dict` returns it.
      path: where these values stand, for messages.

    Raises:
      UserError: an unknown field, a value of the wrong type, or values that the dataclass refuses.
    """
    hints = typing.get_type_hints(cls)
    names = [field.name for field in dataclasses.fields(cls)]
    for name in values:
        if name not in names:
            raise UserError(f"{path}.{name} is not a setting, did you mean {path}.{nearest(name, names)}?")
    converted = {name: _convert(hints[name], value, f"{path}.{name}") for name, value in values.items()}
    try:
        return cls(**converted)
    except ValueError as error:
        raise UserError(f"the configuration does not hold together: {error}.") from error


def _convert(hint: Any, value: Any, path: str) -> Any:
    """`value` as the type that `hint` asks for."""
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise UserError(f"{path} is a group of settings and takes no value of its own.")
        return from_dict(hint, value, path=path)
    origin = typing.get_origin(hint)
    if origin in (types.UnionType, typing.Union):
        if value is None:
            return None
        return _convert(next(arm for arm in typing.get_args(hint) if arm is not type(None)), value, path)
    if origin is tuple and isinstance(value, list | tuple):
        item_hint = typing.get_args(hint)[0]
        if item_hint is str:  # `existence,action` arrives from a command line as one text
            value = [part for item in value for part in (item.split(",") if isinstance(item, str) else [item])]
        return tuple(_convert(item_hint, item, f"each item of {path}") for item in value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    # A bool is an int to Python, but never where a number is wanted.
    if isinstance(value, hint if isinstance(hint, type) else origin) and isinstance(value, bool) == (hint is bool):
        return value
    raise UserError(f"{path} takes {_KINDS[origin or hint]}, not {value!r}.")


def _to_config_dict(config: Any) -> ml_collections.ConfigDict:
    """As `to_dict`, but with tuples and typed placeholders for None, which is what overrides need."""
    result = ml_collections.ConfigDict()
    for name, hint in typing.get_type_hints(type(config)).items():
        value = getattr(config, name)
        if dataclasses.is_dataclass(value):
            value = _to_config_dict(value)
        elif value is None:
            value = ml_collections.config_dict.placeholder(next(arm for arm in typing.get_args(hint) if arm is not type(None)))
        result[name] = value
    return result


def flatten(config: Any, prefix: str = "") -> dict[str, Any]:
    """Dotted name to value for every setting, such as `{"optimizer.lora": 1e-05}`."""
    flat = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            flat.update(flatten(value, f"{prefix}{field.name}."))
        else:
            flat[prefix + field.name] = value
    return flat


def load_config_file(argument: str, kind: type[_Config] = TrainConfig) -> _Config:
    """What `FILE` or `FILE:PRESET` describes, a `kind`.

    Raises:
      UserError: the file is missing, fails, has no `get_config`, or does not know the preset.
    """
    file, colon, preset = argument.partition(":")
    path = Path(file)
    if not path.is_file():
        candidates = [
            str(other) for folder in (path.parent, Path("configs")) for other in sorted(folder.glob("*.py")) if other.stem != "__init__"
        ]
        hint = f", did you mean {nearest(file, candidates)}?" if candidates else "; run from the repository's root or give the full path."
        raise UserError(f"there is no config file '{file}'{hint}")
    spec = importlib.util.spec_from_file_location(f"pvchat_config_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise UserError(f"config file {file} is not a Python file.")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        if not hasattr(module, "get_config"):
            raise UserError("it has no function get_config(preset).")
        config = module.get_config(preset) if colon else module.get_config()
    except UserError as error:
        raise UserError(f"config file {file}: {error}") from error
    except Exception as error:  # Whatever a config file does wrong is its author's to mend, so name the place.
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        place = f"{file}, line {lines[-1]}" if lines else file
        raise UserError(f"config file {place}: {type(error).__name__}: {error}.") from error
    if not isinstance(config, kind):
        raise UserError(f"config file {file} describes a {type(config).__name__}; this command takes a {kind.__name__}.")
    return config


def parse_command_line(
    argv: Sequence[str], *, description: str, kind: type[_Config] = TrainConfig, example: str = "configs/stage1.py:tiny"
) -> _Config:
    """The configuration that a command line asks for.

    Args:
      argv: arguments after the program's name.
      description: what `--help` prints above the settings.
      kind: dataclass that the config file must give.
      example: a value of `--config` for messages.

    Raises:
      UserError: no or a wrong `--config`, an unknown setting or a value of the wrong type.
      SystemExit: after `--help`.
    """
    file_arguments, overrides = _split_arguments(argv)
    wants_help = any(argument in _HELP_FLAGS for argument in overrides)
    if not file_arguments:
        if wants_help:
            print(description)
            raise SystemExit(0)
        raise UserError(f"no --config was given; name a file and a preset, such as --config={example}, or see --help.")
    config = load_config_file(file_arguments[-1], kind)
    if wants_help:
        print(description + f"\nEvery setting of {file_arguments[-1]}:\n")
        print("\n".join(f"  --config.{name}={_as_argument(value)}" for name, value in flatten(config).items()))
        raise SystemExit(0)
    return override(config, overrides)


def _as_argument(value: Any) -> str:
    """`value` as one would write it in a shell."""
    return shlex.quote(",".join(map(str, value)) if isinstance(value, tuple) else str(value))


def _split_arguments(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Values of `--config` and the remaining arguments."""
    files, others = [], []
    arguments = iter(argv)
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if name not in ("--config", "-config"):
            others.append(argument)
        elif value := value if equals else next(arguments, ""):
            files.append(value)
        else:
            raise UserError("--config needs a value, such as --config=configs/stage1.py:tiny.")
    return files, others


def override(config: _Config, arguments: Sequence[str]) -> _Config:
    """`config` with overrides such as `--config.optimizer.lora=1e-4`.

    Raises:
      UserError: an unknown setting, a value of the wrong type, or values that do not hold together.
    """
    names = list(flatten(config))
    groups = {name[:end] for name in names for end in [i for i, letter in enumerate(name) if letter == "."]}
    for argument in arguments:
        if match := re.match(r"--?(?:no)?config\.([^=]+)", argument):
            if match[1] in groups:
                raise UserError(f"config.{match[1]} is a group of settings and takes no value of its own; see --config=FILE --help.")
            if match[1] not in names:
                raise UserError(f"config.{match[1]} is not a setting, did you mean config.{nearest(match[1], names)}?")
    arguments = [_quote_texts(config, argument) for argument in arguments]
    values = flags.FlagValues()
    config_flags.DEFINE_config_dict("config", _to_config_dict(config), flag_values=values, sys_argv=["", *arguments])
    try:
        rest = values(["", *arguments])
    except flags.UnrecognizedFlagError as error:
        raise UserError(f"there is no flag --{error.flagname}, did you mean --config.{nearest(error.flagname, names)}?") from error
    except flags.Error as error:
        raise UserError(_explain_flag_error(config, error)) from error
    if len(rest) > 1:
        raise UserError(f"did not expect the argument '{rest[1]}'; settings are written --config.NAME=VALUE.")
    return from_dict(type(config), values["config"].value.to_dict())


def _hint_of(config: Any, name: str) -> Any:
    """The type of a setting by its dotted name."""
    owner = functools.reduce(getattr, name.split(".")[:-1], config)
    return typing.get_type_hints(type(owner))[name.rsplit(".", 1)[-1]]


def _quote_texts(config: Any, argument: str) -> str:
    """A list of texts such as `--config.runs=/a,b=1` in the form that the parser of tuples takes; other arguments as they are."""
    match = re.fullmatch(r"(--?config\.([^=]+)=)([^(\['\"].*)?", argument, re.DOTALL)
    if match is None or _hint_of(config, match[2]) != tuple[str, ...]:
        return argument
    return match[1] + repr(tuple(match[3].split(",")) if match[3] else ())


def _explain_flag_error(config: Any, error: flags.Error) -> str:
    """One sentence for an absl error about a value."""
    match = re.match(r"flag --config\.([\w.]+)=(.*?): ", str(error), re.DOTALL)
    if match is None:
        return f"the command line could not be read: {str(error).splitlines()[0]}."
    hint = _hint_of(config, match[1])
    hint = next((arm for arm in typing.get_args(hint) if arm in _KINDS and typing.get_origin(hint) is not tuple), hint)
    return f"config.{match[1]} takes {_KINDS[typing.get_origin(hint) or hint]}, not '{match[2]}'."
