"""Fixtures of all tests: the one running appliance that ./test installs, a browser, the sample database."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator

import hypothesis
import psycopg
import pytest
from selenium import webdriver

from appliance import context as contexts
from appliance.clients import postgres
from appliance.parts.base import Context
from tests import clock as clocks

# A busy machine makes no test wrong.
hypothesis.settings.register_profile("unhurried", deadline=None)
hypothesis.settings.load_profile("unhurried")


@pytest.fixture(scope="session")
def live() -> Context:
    """The running appliance that ``APPLIANCE_HOME`` names, with the scenario card_fraud loaded.

    Without one the tests that ask for it fail: `./test` installs one and says where it is.
    """
    if "APPLIANCE_HOME" not in os.environ:
        pytest.fail("this test needs a running appliance: run ./test, or set APPLIANCE_HOME to the home of one")
    return contexts.current()


@pytest.fixture
def sample_db(live: Context) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """A connection of the business application to the sample business database, each statement its own commit."""
    with postgres.sample(live) as connection:
        yield connection


@pytest.fixture
def held_clock(live: Context) -> Iterator[int]:
    """The appliance clock, standing still during a test."""
    with clocks.held_clock(live) as now:
        yield now


@pytest.fixture
def browser() -> Iterator[webdriver.Chrome]:
    """Debian's Chromium without a window, with a profile of its own."""
    with tempfile.TemporaryDirectory() as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = "/usr/bin/chromium"
        for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu",
                         "--window-size=1280,1600", f"--user-data-dir={profile}"):  # fmt: skip
            options.add_argument(argument)
        driver = webdriver.Chrome(options=options, service=webdriver.ChromeService("/usr/bin/chromedriver"))
        try:
            yield driver
        finally:
            driver.quit()
