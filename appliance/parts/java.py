"""Java 17 (Debian) and the flags the JVMs share."""

from __future__ import annotations

from pathlib import Path

from appliance.errors import PartError


def java17() -> str:
    """Debian's Java 17. Raises PartError when it is not installed."""
    found = sorted(Path("/usr/lib/jvm").glob("java-17-openjdk-*/bin/java"))
    if not found:
        raise PartError("java.missing", "no Java 17 below /usr/lib/jvm", hint="apt-get install openjdk-17-jre-headless")
    return str(found[0])


def heap(max_mib: int) -> tuple[str, ...]:
    """A heap that starts small; the process ends, and is started again, when it is full."""
    return (f"-Xms{min(64, max_mib)}m", f"-Xmx{max_mib}m", "-XX:+ExitOnOutOfMemoryError", "-Djava.awt.headless=true")
