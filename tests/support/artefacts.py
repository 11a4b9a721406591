# SPDX-License-Identifier: BSD-3-Clause
"""Programs that the tests need, fetched once into a cache and shared by every run.

The cache is `.cache/` in the repository, or `$ASTROM3_TEST_CACHE`. What is in it is complete: each
entry is made in a scratch folder and renamed into place, under a lock, so that two runs at once, or
one that is killed, cannot leave half of one.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.support.process import ServerUnavailableError

__all__ = [
    "KAFKA_VERSION",
    "REGISTRY_VERSION",
    "REPOSITORY",
    "cache_dir",
    "java",
    "java_version",
    "kafka_classpath",
    "kafka_tools_classpath",
    "locked",
    "made_once",
    "maven",
    "redis_program",
    "registry_home",
]

REPOSITORY = Path(__file__).resolve().parents[2]
"""Root of the checkout these tests belong to."""

KAFKA_VERSION = "4.1.0"
"""The broker that the delivery laws were seen to hold on; another may be given by `$KAFKA_HOME`."""

LOG4J_VERSION = "2.24.3"
"""What Kafka 4.1.0 brings; another version of the SLF4J binding would not load."""

REGISTRY_VERSION = "2.6.13.Final"
"""Last line of Apicurio Registry that publishes a runnable archive to Maven Central."""

DEPENDENCY_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1"
"""Named, so that the Maven of an old distribution does not use the plug-in it was born with."""

JAVA_MINIMUM = 17
"""Kafka 4 brokers do not start on less."""

MAVEN_S = 900.0
"""Longest wait for a download of 150 MB on a slow line."""

TOOLS = f"""
    <dependency>
      <groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId>
      <version>{KAFKA_VERSION}</version>
    </dependency>"""
"""Kafka's command-line tools, `kafka-acls.sh` among them; a broker does without."""

POM = f"""\
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>tests</groupId><artifactId>kafka</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId>
      <version>{KAFKA_VERSION}</version>
    </dependency>
    <dependency>
      <groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId>
      <version>{LOG4J_VERSION}</version>
    </dependency>{{more}}
  </dependencies>
</project>
"""


def cache_dir() -> Path:
    """Return the cache folder, made if need be."""
    folder = Path(os.environ.get("ASTROM3_TEST_CACHE") or REPOSITORY / ".cache")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file, made if need be; another run waits for it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield  # closing the file gives the lock back, and so does the end of this process


def made_once(name: str, make: Callable[[Path], None]) -> Path:
    """Return the cache entry of this name, filling a scratch folder with `make` if it is not there."""
    entry = cache_dir() / name
    if entry.is_dir():
        return entry
    with locked(cache_dir() / "locks" / f"{name}.lock"):
        if not entry.is_dir():
            scratch = Path(tempfile.mkdtemp(prefix=f"{name}.", dir=cache_dir()))
            try:
                make(scratch)
                scratch.chmod(0o755)
                scratch.rename(entry)
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
    return entry


def java() -> str:
    """Return the Java program, of `$JAVA_HOME` or on the path, new enough for Kafka."""
    home = os.environ.get("JAVA_HOME")
    program = shutil.which("java", path=f"{home}/bin") if home else None
    program = program or shutil.which("java")
    if program is None:
        raise ServerUnavailableError(f"no Java; install version {JAVA_MINIMUM} or newer, or set JAVA_HOME")
    version = java_version(program)
    if version < JAVA_MINIMUM:
        raise ServerUnavailableError(
            f"{program} is Java {version}; Kafka needs {JAVA_MINIMUM} or newer: install one, or set JAVA_HOME"
        )
    return program


def java_version(program: str) -> int:
    """Return the major version that a Java program reports, 0 if it reports none."""
    report = subprocess.run([program, "-version"], capture_output=True, text=True, check=False)
    # "1.8.0_392" of old, "17.0.15" since Java 9
    found = re.search(r'version "(?:1\.)?(\d+)', report.stderr + report.stdout)
    return int(found.group(1)) if found else 0


def redis_program() -> str:
    """Return the Redis or Valkey server on the path."""
    for name in ("redis-server", "valkey-server"):
        program = shutil.which(name)
        if program is not None:
            return program
    raise ServerUnavailableError(
        "no Redis; install the package redis-server (or valkey), or set ASTROM3_TEST_REDIS"
    )


def kafka_classpath() -> str:
    """Return the Java class path of a Kafka broker: `$KAFKA_HOME/libs`, or what Maven resolves."""
    home = os.environ.get("KAFKA_HOME")
    if home:
        libs = Path(home) / "libs"
        if not any(libs.glob("kafka_2.*.jar")):
            raise ServerUnavailableError(
                f"KAFKA_HOME={home} holds no libs/kafka_2.*.jar; correct or unset it"
            )
        return f"{libs}/*"
    return f"{made_once(f'kafka_2.13-{KAFKA_VERSION}', _fetch_kafka)}/*"


def kafka_tools_classpath() -> str:
    """Return the Java class path of Kafka's command-line tools."""
    home = os.environ.get("KAFKA_HOME")
    if home:
        return f"{home}/libs/*"
    return f"{made_once(f'kafka-tools-{KAFKA_VERSION}', _fetch_kafka_tools)}/*"


def registry_home() -> Path:
    """Return the folder of the unpacked Apicurio registry."""
    return made_once(f"apicurio-registry-app-{REGISTRY_VERSION}", _fetch_registry)


def maven(arguments: Sequence[str], *, folder: Path) -> None:
    """Run Maven in a folder; raise with the end of its output if it fails."""
    program = shutil.which("mvn")
    if program is None:
        raise ServerUnavailableError(
            "no Maven; install the package maven, or set KAFKA_HOME or ASTROM3_TEST_BOOTSTRAP"
        )
    command = [program, "--quiet", "--batch-mode", *arguments]
    # Maven's local repository is shared by all its runs, and Maven 3 does not lock it.
    with locked(Path.home() / ".m2" / "astrom3-tests.lock"):
        try:
            done = subprocess.run(
                command, cwd=folder, capture_output=True, text=True, check=False, timeout=MAVEN_S
            )
        except subprocess.TimeoutExpired as late:
            raise ServerUnavailableError(f"{' '.join(command)}: no end within {MAVEN_S:g} s") from late
    if done.returncode != 0:
        output = "\n".join((done.stdout + done.stderr).splitlines()[-15:])
        raise ServerUnavailableError(f"{' '.join(command)} failed; is Maven Central reachable?\n{output}")


def _fetch_kafka(folder: Path) -> None:
    _copy_dependencies(folder, POM.format(more=""))


def _fetch_kafka_tools(folder: Path) -> None:
    _copy_dependencies(folder, POM.format(more=TOOLS))


def _copy_dependencies(folder: Path, project: str) -> None:
    pom = folder / "pom.xml"
    pom.write_text(project)
    goal = f"{DEPENDENCY_PLUGIN}:copy-dependencies"
    maven(["-f", str(pom), goal, "-DincludeScope=runtime", f"-DoutputDirectory={folder}"], folder=folder)


def _fetch_registry(folder: Path) -> None:
    artefact = f"io.apicurio:apicurio-registry-app:{REGISTRY_VERSION}:tar.gz:all"
    goal = f"{DEPENDENCY_PLUGIN}:unpack"
    maven([goal, f"-Dartifact={artefact}", f"-DoutputDirectory={folder}"], folder=folder)
