"""The console of the running appliance, in Chromium."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import httpx
import msgspec
import pytest
from selenium import webdriver
from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from appliance import users as redis_users
from appliance.clients import redis as redis_clients
from appliance.parts.base import Context
from appliance.records import FeatureValue
from gateway.console import users
from gateway.names import Keys
from tests.integration import gateway_api as api

pytestmark = pytest.mark.integration
_SECONDS = 30
_REPLACED_MEANWHILE = (StaleElementReferenceException, NoSuchElementException)
"""The page draws itself anew while a test looks at it."""


@pytest.fixture(autouse=True)
def forgotten_failures(live: Context) -> Iterator[None]:
    """Failed logins of one test do not lock the next one out."""
    yield
    with redis_clients.connect(live, redis_users.ADMINISTRATOR) as store:
        store.delete(Keys(live.installation.tenant).login_failures("127.0.0.1"))


def _until(browser: webdriver.Chrome, true: Callable[[webdriver.Chrome], object]) -> None:
    WebDriverWait(browser, _SECONDS, ignored_exceptions=_REPLACED_MEANWHILE).until(true)


def _log_in(live: Context, browser: webdriver.Chrome, password: str) -> None:
    browser.get(api.base_url(live) + "/")
    assert browser.current_url.endswith("/login")
    browser.find_element(By.NAME, "password").send_keys(password)
    browser.find_element(By.CSS_SELECTOR, "button[type=submit]").click()


@pytest.fixture
def console(live: Context, browser: webdriver.Chrome) -> webdriver.Chrome:
    """The browser, logged in, with the first figures shown."""
    _log_in(live, browser, live.secrets.get(users.SECRET))
    _until(browser, lambda b: b.find_element(By.TAG_NAME, "body").get_dom_attribute("data-loaded") == "yes")
    return browser


def test_a_wrong_password_opens_nothing(live: Context, browser: webdriver.Chrome) -> None:
    _log_in(live, browser, "wrong")
    _until(browser, lambda b: b.find_elements(By.CLASS_NAME, "message"))
    assert browser.find_element(By.CLASS_NAME, "message").text == "Name or password is wrong."
    browser.get(api.base_url(live) + "/")
    assert browser.current_url.endswith("/login")


def _shown(console: webdriver.Chrome, place: str) -> int:
    return int(console.find_element(By.ID, place).text.replace(",", ""))


def test_it_says_whether_the_system_runs_and_how_much_was_scored(live: Context, console: webdriver.Chrome) -> None:
    with api.app_client(live) as client:

        def agrees(_: webdriver.Chrome) -> bool:
            summary = client.get("/v1/summary").json()
            places = [(period, what) for period in ("today", "week") for what in ("scored", "alerts")]
            return (
                all(_shown(console, f"{period}-{what}") == summary[period][what] for period, what in places)
                and console.find_element(By.ID, "sentence").text == summary["sentence"]
            )

        _until(console, agrees)
    state = console.find_element(By.ID, "state").get_dom_attribute("data-state")
    assert state in ("good", "bad")
    assert (state == "good") == ("is running" in console.find_element(By.ID, "sentence").text)


def test_an_alert_shows_the_features_behind_it(live: Context, console: webdriver.Chrome) -> None:
    features = {"customer_payments:customer_tx_count_30d": FeatureValue(7, "present")}
    api.send(live, live.names.alerts(), msgspec.json.encode(api.alert(live, features=features)))

    def shows(page: webdriver.Chrome) -> bool:
        first = page.find_element(By.CSS_SELECTOR, "#alerts details")
        if first.get_dom_attribute("open") is None:
            first.find_element(By.TAG_NAME, "summary").click()
        inside = first.find_element(By.CLASS_NAME, "inside")
        return (
            inside.is_displayed()
            and "Number of transactions of the customer in 30 days" in inside.text
            and "card_fraud" in inside.text
        )

    _until(console, shows)


def test_it_refreshes_by_itself_and_a_new_row_counts(live: Context, console: webdriver.Chrome) -> None:
    before = _shown(console, "week-scored")
    with api.app_client(live) as client:
        assert client.post(api.PREDICT, json={"rows": [api.payment(live)]}).status_code == 200
    _until(console, lambda b: _shown(b, "week-scored") > before)


def test_everything_comes_from_the_appliance(live: Context, console: webdriver.Chrome) -> None:
    loaded = console.execute_script("return performance.getEntriesByType('resource').map(e => e.name)")
    assert loaded and all(name.startswith(api.base_url(live)) for name in loaded)
    assert [entry for entry in console.get_log("browser") if entry["level"] == "SEVERE"] == []


@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_sticks_out_of_the_window(console: webdriver.Chrome, width: int) -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    console.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    assert console.execute_script("return document.documentElement.scrollWidth") <= width


def test_logging_out_ends_the_session(live: Context, console: webdriver.Chrome) -> None:
    cookie = console.get_cookie("appliance_session")
    assert cookie and cookie["httpOnly"] and cookie["sameSite"] == "Strict"
    kept = {"appliance_session": cookie["value"]}
    with httpx.Client(base_url=api.base_url(live), cookies=kept) as client:
        assert client.get("/v1/summary").status_code == 200
        assert client.post(api.PREDICT, json={"rows": [{}]}).status_code == 401
        assert client.post("/logout").status_code == 403
        console.find_element(By.CSS_SELECTOR, "header button").click()
        _until(console, lambda b: b.current_url.endswith("/login"))
        assert client.get("/v1/summary").status_code == 401


def test_guessing_is_slowed_down(live: Context) -> None:
    with httpx.Client(base_url=api.base_url(live)) as client:
        for attempt in range(9):
            client.get("/login")
            answer = client.post(
                "/login", data={"name": "admin", "password": "guess", "csrf": client.cookies["appliance_login"]}
            )
            assert answer.status_code == (401 if attempt < 8 else 429), attempt
        assert int(answer.headers["Retry-After"]) > 0


def test_a_form_of_another_site_is_refused(live: Context) -> None:
    with httpx.Client(base_url=api.base_url(live)) as client:
        client.get("/login")
        form = {"name": "admin", "password": live.secrets.get(users.SECRET)}
        assert client.post("/login", data=form).status_code == 403
        right = form | {"csrf": client.cookies["appliance_login"]}
        foreign = client.post("/login", data=right, headers={"Origin": "https://elsewhere.example"})
        assert foreign.status_code == 403
        assert client.post("/login", data=right).status_code == 303
