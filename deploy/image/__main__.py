"""Build the image, prove it, print what was found, and save it if asked. Started by image.sh."""
# ruff: noqa: INP001, S607, T201 - a folder of scripts, which start git and print

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from engine import Docker, debian_base, own_engine
from proof import prove
from saving import facts_for_release, save
from waiting import ProofFailedError

from aigen_bridge import __version__

ROOT = Path(__file__).parents[2]
IMAGE = f"aigen-bridge:{__version__}"


def main() -> None:
    """Exit status 0 only if everything worked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", help="the base image; 'local': made of Debian's packages, in an engine of its own")
    parser.add_argument("--save", type=Path, help="where to write the archive for `docker load`")
    parser.add_argument("--facts", type=Path, help="where to write what the image is made of, as JSON")
    arguments = parser.parse_args()
    base = arguments.base
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what was started is ended then, too
    with ExitStack() as running:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="aigen-image-")))
        docker = Docker(("docker",))
        try:
            if base == "local":
                docker = running.enter_context(own_engine(folder))
                base = debian_base(docker, folder)
            elif base and "@" not in base:
                base = with_digest(docker, base)
            build(docker, base)
            facts = prove(docker, IMAGE, ROOT, folder)
            if arguments.facts:
                arguments.facts.write_text(json.dumps(facts_for_release(docker, IMAGE)))
            if arguments.save:
                save(docker, IMAGE, arguments.save)
        except (ProofFailedError, subprocess.CalledProcessError) as error:
            sys.exit(f"The image does not work: {error}\n{getattr(error, 'stderr', None) or ''}".rstrip())
    width = max(map(len, facts))
    print("\n" + "\n".join(f"{name:<{width}}  {value}" for name, value in facts.items()))


def with_digest(docker: Docker, base: str) -> str:
    """Pull a base image, and return its name with the digest that the registry answered."""
    docker("pull", "--quiet", base)
    digest = docker("image", "inspect", "--format={{index .RepoDigests 0}}", base).partition("@")[2]
    return f"{base}@{digest}"


def build(docker: Docker, base: str | None) -> None:
    """With BuildKit, which this engine may not use by itself."""
    print(f"Building {IMAGE} on {base or 'its usual base'} ...", flush=True)
    arguments = ["--build-arg", f"PYTHON_IMAGE={base}", "--network=host"] if base else []
    revision = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=ROOT, check=False, capture_output=True, text=True
    ).stdout.strip()
    docker(
        "build",
        *arguments,
        *_certificates(),
        f"--build-arg=VERSION={__version__}",
        f"--build-arg=REVISION={revision or 'unknown'}",
        f"--tag={IMAGE}",
        str(ROOT),
    )


def _certificates() -> list[str]:
    """The authorities that this machine trusts, for the build only: a secret never becomes part of an image."""
    for name in ("SSL_CERT_FILE", "PIP_CERT"):
        if (path := os.environ.get(name)) and Path(path).is_file():
            return ["--secret", f"id=ca,src={path}"]
    return []


if __name__ == "__main__":
    main()
