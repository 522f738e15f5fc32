"""What a user installs: dependencies that are declared and used, data files that are shipped, documents that hold."""

import ast
import fnmatch
import functools
import re
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
SHIPPED = ("pvchat_jax", "configs", "converters")
TESTED_PYTHONS = ("3.11", "3.12")
IMPORT_NAMES = {
    "absl-py": "absl",
    "opencv-python": "cv2",
    "orbax-checkpoint": "orbax",
    "mlflow-skinny": "mlflow",
    "pillow": "PIL",
    "pyyaml": "yaml",
    "scikit-image": "skimage",
}  # where it differs from the distribution's name
IMPORTED_WHERE_NEEDED = ("torch", "synthesis", "serve", "eval", "wandb", "mlflow")
PLATFORM_EXTRAS = ("tpu", "cuda", "plan")


@functools.cache
def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def requirements(extra: str | None = None) -> list[Requirement]:
    table = project()["project"]
    return [Requirement(line) for line in (table["optional-dependencies"][extra] if extra else table["dependencies"])]


def import_name(requirement: Requirement) -> str:
    return IMPORT_NAMES.get(requirement.name, requirement.name.replace("-", "_"))


def constraints(python: str) -> dict[str, Version]:
    """Distribution -> version that constraints.txt gives on Linux x86-64 with this Python."""
    environment = {**default_environment(), "python_version": python, "python_full_version": f"{python}.0"}
    environment |= {"sys_platform": "linux", "platform_machine": "x86_64", "platform_system": "Linux"}
    found = {}
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        text = line.partition("#")[0].strip()
        if not text:
            continue
        requirement = Requirement(text)
        (specifier,) = requirement.specifier
        assert specifier.operator == "==", f"constraints.txt: '{line}' is not an exact version"
        if requirement.marker is None or requirement.marker.evaluate(environment):
            assert canonicalize_name(requirement.name) not in found, f"constraints.txt gives {requirement.name} twice on Python {python}"
            found[canonicalize_name(requirement.name)] = Version(specifier.version)
    return found


def imported(paths: Iterable[Path]) -> dict[str, Path]:
    """Third-party top-level name -> one file that imports it."""
    names: dict[str, Path] = {}
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0]: path for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names[node.module.split(".")[0]] = path
    return {name: path for name, path in names.items() if name not in sys.stdlib_module_names and name not in (*SHIPPED, "tests")}


def shipped_files(pattern: str) -> list[Path]:
    return [
        path for folder in SHIPPED for path in sorted((ROOT / folder).rglob(pattern)) if path.is_file() and "__pycache__" not in path.parts
    ]


def test_every_import_is_declared() -> None:
    declared = {import_name(requirement) for extra in (None, *IMPORTED_WHERE_NEEDED) for requirement in requirements(extra)}
    undeclared = {name: str(path.relative_to(ROOT)) for name, path in imported(shipped_files("*.py")).items() if name not in declared}
    assert not undeclared, f"add these to the dependencies of pyproject.toml: {undeclared}"
    declared |= {import_name(requirement) for requirement in requirements("dev")} | {"benchmarks"}  # not shipped, but beside the tests
    undeclared = {
        name: str(path.relative_to(ROOT)) for name, path in imported((ROOT / "tests").rglob("*.py")).items() if name not in declared
    }
    assert not undeclared, f"add these to the dev extra of pyproject.toml: {undeclared}"


def test_every_dependency_is_imported() -> None:
    used = set(imported(shipped_files("*.py")))
    unused = [requirement.name for requirement in requirements() if import_name(requirement) not in used]
    assert not unused, f"nothing imports {unused}; remove them from pyproject.toml"


@pytest.mark.parametrize("python", TESTED_PYTHONS)
def test_constraints_name_a_version_within_every_bound(python: str) -> None:
    versions = constraints(python)
    for extra in (None, *IMPORTED_WHERE_NEEDED, "dev", "plan"):
        for requirement in requirements(extra):
            version = versions.get(canonicalize_name(requirement.name))
            assert version is not None, f"constraints.txt has no {requirement.name} for Python {python}"
            assert version in requirement.specifier, f"{requirement} excludes {version}, the version in constraints.txt for Python {python}"


def test_every_bound_has_a_reason() -> None:
    lines = (ROOT / "pyproject.toml").read_text(encoding="utf-8").splitlines()
    unexplained = [line for line in lines if re.search(r'"[\w-]+(\[\w+\])?\s*[<>=]=?\d', line) and "#" not in line]
    assert not unexplained, f"say in a comment why, in pyproject.toml: {unexplained}"


def test_extras_are_all_accounted_for() -> None:
    assert set(project()["project"]["optional-dependencies"]) == {"dev", *PLATFORM_EXTRAS, *IMPORTED_WHERE_NEEDED}


def test_every_folder_with_code_is_a_package() -> None:
    lacking = sorted({str(path.parent.relative_to(ROOT)) for path in shipped_files("*.py") if not (path.parent / "__init__.py").exists()})
    assert not lacking, f"add an empty __init__.py to {lacking}, or the wheel leaves them out"


def test_every_data_file_is_shipped() -> None:
    patterns = project()["tool"]["setuptools"]["package-data"]
    globs = [f"{package.replace('.', '/')}/{pattern}" for package, files in patterns.items() for pattern in files]
    files = [path.relative_to(ROOT).as_posix() for path in shipped_files("*") if path.suffix not in (".py", ".md")]
    left_out = [file for file in files if not any(fnmatch.fnmatchcase(file, pattern) for pattern in globs)]
    assert not left_out, f"the wheel would lack {left_out}; add them to [tool.setuptools.package-data]"
    idle = [pattern for pattern in globs if not fnmatch.filter(files, pattern)]
    assert not idle, f"[tool.setuptools.package-data] matches nothing with {idle}"


def test_makefile_accepts_the_pythons_of_the_project() -> None:
    supported = [Version(f"3.{minor}") in Requirement(f"x{project()['project']['requires-python']}").specifier for minor in range(10, 15)]
    first, last = re.search(
        r"\(3, (\d+)\) <= sys.version_info\[:2\] <= \(3, (\d+)\)", (ROOT / "Makefile").read_text(encoding="utf-8")
    ).groups()
    assert supported == [int(first) <= minor <= int(last) for minor in range(10, 15)]
    assert [f"3.{minor}" for minor in range(int(first), int(last) + 1)] == list(TESTED_PYTHONS)


def test_versions_table_of_the_readme_repeats_the_constraints() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w-]+)`[^|]* \| ([\d.]+) \| ([\d.]+) \|$", text, flags=re.MULTILINE)
    assert rows, "README.md has no table of versions"
    for name, *versions in rows:
        for python, version in zip(TESTED_PYTHONS, versions, strict=True):
            assert constraints(python)[canonicalize_name(name)] == Version(version), f"README.md gives another {name} for Python {python}"


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", "launch/README.md"])
def test_commands_in_the_documents_exist(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    targets = set(re.findall(r"^([\w-]+):(?!=)", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    unknown = set(re.findall(r"\bmake ([a-z][\w-]*)", "\n".join(re.findall(r"`[^`]+`|^    .+$", text, flags=re.MULTILINE)))) - targets
    assert not unknown, f"{document} names make targets that do not exist: {sorted(unknown)}"
    modules = set(re.findall(r"python -m ([\w.]+)", text)) - {"pip", "venv", "pytest"}
    starts = {
        path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".").removesuffix(".__main__") for path in shipped_files("*.py")
    }
    missing = sorted(modules - starts)
    assert not missing, f"{document} starts modules that do not exist: {missing}"
    files = re.findall(r"(?:configs|launch|docs)/[\w/]+\.(?:py|md|sh|png)", text)
    lost = sorted(file for file in set(files) if not (ROOT / file).exists())
    assert not lost, f"{document} names files that do not exist: {lost}"
