"""A wall clock that a test sets, for one process and while it runs. The clock that never goes back stays right."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import pytest

# The offset is read again each time, so that the clock jumps under the process.
_SHIFTED = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static time_t offset(void) {
    char text[32] = {0};
    int file = open(getenv("TEST_CLOCK_OFFSET"), O_RDONLY | O_CLOEXEC);
    if (file < 0) abort();
    if (read(file, text, sizeof text - 1) < 0) abort();
    close(file);
    return atol(text);
}

int clock_gettime(clockid_t clock, struct timespec *at) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, at);
    if (result == 0 && clock == CLOCK_REALTIME) at->tv_sec += offset();
    return result;
}

time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at) *at = now.tv_sec;
    return now.tv_sec;
}

int gettimeofday(struct timeval *at, void *zone) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return 0;
}
"""


@dataclass(frozen=True)
class Clock:
    """The clock of all processes that get its environment."""

    library: Path
    offset: Path

    @property
    def environ(self) -> dict[str, str]:
        return {"LD_PRELOAD": str(self.library), "TEST_CLOCK_OFFSET": str(self.offset)}

    def jump(self, seconds: int) -> None:
        """Set the clock so many seconds before or behind the right time."""
        self.offset.write_text(str(seconds))


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    """A clock that is right."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("there is no C compiler to make another clock with")
    # From 3.11 on locks wait by the other clock, if the C library can.
    if sys.version_info < (3, 11) or not sysconfig.get_config_var("HAVE_SEM_CLOCKWAIT"):
        pytest.skip("this Python waits by the wall clock, which only the system can set")
    source, library = tmp_path / "clock.c", tmp_path / "clock.so"
    source.write_text(_SHIFTED)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"], check=True)
    found = Clock(library, tmp_path / "offset")
    found.jump(0)
    return found
