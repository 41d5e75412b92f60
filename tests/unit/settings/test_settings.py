"""taskqueue.ini: what loads, and the words for what does not."""

from __future__ import annotations

import dataclasses
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pika
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskqueue.errors import ConfigError
from taskqueue.settings import QueueSettings, Rate, Settings, addresses, load, parse
from taskqueue.settings.keys import GLOBAL_KEYS, QUEUE_KEYS
from taskqueue.topology.ladder import Ladder, Way

SHIPPED = Path(__file__).parents[3] / "taskqueue.ini"
OLD = """
server = amqp://localhost
[default]
concurrency = 50
rate = 50/s
retry_limit = 10
min_backoff_seconds = 10
max_backoff_seconds = 300
max_doublings = 3
"""


def read(text: str, **environ: str) -> Settings:
    """Parse an ini as if it stood in x.ini."""
    return parse(text, source="x.ini", environ=environ)


def queue(line: str) -> QueueSettings:
    """Parse one line of a queue's section."""
    return read(f"[q]\n{line}").queues["q"]


def refusal(text: str, **environ: str) -> str:
    """Parse an ini that can't be used and give the error."""
    with pytest.raises(ConfigError) as caught:
        read(text, **environ)
    return str(caught.value)


def test_the_shipped_file_names_every_key_with_its_default() -> None:
    """With every comment sign before a key taken away it says the same as an empty section."""
    text = re.sub(r"^#(\w+ =)", r"\1", SHIPPED.read_text(), flags=re.MULTILINE)
    assert read(text) == read("[default]") == read(SHIPPED.read_text())
    named = set(re.findall(r"^(\w+) =", text, flags=re.MULTILINE))
    assert named == GLOBAL_KEYS.keys() | QUEUE_KEYS.keys()


def test_every_field_has_a_key() -> None:
    """And every key a field."""
    fields = {field.name for field in dataclasses.fields(Settings)} - {"queues", "schedules", "names"}
    assert {"servers" if key == "server" else key for key in GLOBAL_KEYS} == fields
    assert QUEUE_KEYS.keys() == {field.name for field in dataclasses.fields(QueueSettings)} - {"name"}


def test_an_old_file_loads_as_it_is() -> None:
    """`server` before the first section, and the seven names of before."""
    settings = read(OLD)
    assert settings.servers == ("amqp://localhost",)
    (default,) = settings.queues.values()
    assert (default.name, default.concurrency, default.rate) == ("default", 50, Rate(50, 1))
    assert (default.retry_limit, default.max_doublings) == (10, 3)
    assert (default.min_backoff_seconds, default.max_backoff_seconds) == (10, 300)


def test_a_server_in_quotes_is_one_without_them() -> None:
    """As files of the Go taskqueue have it; the error for half of them shows nothing of the login."""
    assert read('server = "amqp://u:p@h:5672/"\n[q]').servers == ("amqp://u:p@h:5672/",)
    assert "hunter2" not in refusal('server = "amqp://u:hunter2@h:5672/\n[q]')


def test_a_queues_key_before_the_sections_is_the_default_of_all() -> None:
    """Or in [taskqueue]; a section's own goes first."""
    settings = read("concurrency = 3\n[taskqueue]\ntimeout = 7\n[a]\n[b]\nconcurrency = 4")
    assert {name: (one.concurrency, one.timeout) for name, one in settings.queues.items()} == {
        "a": (3, 7.0),
        "b": (4, 7.0),
    }


def test_the_environment_is_put_in_once() -> None:
    """What a variable holds is not looked at again; $$ is a dollar sign."""
    settings = read("server = ${URL}\nproxy = http://u:$$x@h\n[q]", URL="amqp://u:${X}@h")
    assert settings.servers == ("amqp://u:${X}@h",)
    assert settings.queues["q"].proxy == "http://u:$x@h"


@pytest.mark.parametrize(
    ("line", "field", "value"),
    [
        ("rate = 10/m", "rate", Rate(10, 60)),
        ("rate =", "rate", None),
        ("retry_limit = 0", "retry_limit", 0),
        ("retry_limit = -1", "retry_limit", None),
        ("max_doublings = -1", "max_doublings", 2**31 - 1),
        ("success_status = 2xx, 304", "success_status", frozenset({*range(200, 300), 304})),
        ("permanent_status = 400-402,410", "permanent_status", frozenset({400, 401, 402, 410})),
        ("follow_redirects = yes", "follow_redirects", True),
        ("allow_hosts = *.Example.com, b.org", "allow_hosts", ("*.example.com", "b.org")),
        ("deny_networks =", "deny_networks", ()),
        ("deny_networks = 10.0.0.0/8, ::1", "deny_networks", ("10.0.0.0/8", "::1/128")),
        ("handlers = headers, callback, my.co:Auth", "handlers", ("headers", "callback", "my.co:Auth")),
        ("signing_secret = a, b", "signing_secret", ("a", "b")),
        ("signing_secret = a#;, b;c", "signing_secret", ("a#;", "b;c")),
        ("base_url = https://app.example.com:8443/v1", "base_url", "https://app.example.com:8443/v1"),
        (
            "allow_hosts = [::0:1], *.M\u00fcnchen.example, b.org.",
            "allow_hosts",
            ("::1", "*.xn--mnchen-3ya.example", "b.org"),
        ),
        ("per_host = 2", "per_host", 2),
        ("per_host =", "per_host", None),
        ("request_ca_file = /etc/ca.pem", "request_ca_file", Path("/etc/ca.pem")),
        ("bearer_token = a.b-c_d~e+f/g==", "bearer_token", "a.b-c_d~e+f/g=="),
        ("basic_auth = me:p:w #;", "basic_auth", "me:p:w #;"),
        ("tracing = opentelemetry", "tracing", "opentelemetry"),
    ],
)
def test_values_of_a_queue(line: str, field: str, value: Any) -> None:
    """Each kind of value."""
    assert getattr(queue(line), field) == value


def test_values_for_all() -> None:
    """Several brokers, a tick of a hundredth of a second."""
    settings = read("server = amqp://a:1, amqps://b\nresolution = 0.01\nlevels = 9\nmetrics = :9100\n[q]")
    assert settings.servers == ("amqp://a:1", "amqps://b")
    assert settings.rungs == Ladder(Decimal("0.01"), 9)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.001", "0.001"),
        ("0.01", "0.01"),
        ("0.1", "0.1"),
        (".1", "0.1"),
        ("0.10", "0.1"),
        ("1", "1"),
        ("1.0", "1"),
        ("1e1", "10"),
        ("10", "10"),
    ],
)
def test_a_tick_is_a_power_of_ten_however_it_is_written(text: str, value: str) -> None:
    """So that the names of the rungs, which are made from it, are always the same."""
    found = read(f"levels = 1\nresolution = {text}\n[q]").resolution
    assert (found, str(found)) == (Decimal(value), value)


@pytest.mark.parametrize(
    "text", ["0", "0.0001", "0.25", "0.5", "2", "60", "100", "-1", "nan", "inf", "1/10", "", "\u0661", "0,1"]
)
def test_no_other_tick_is_taken(text: str) -> None:
    """Rungs of one name would have other TTLs then."""
    words = "x.ini:1: resolution: must be one of 0.001, 0.01, 0.1, 1, 10 (seconds)"
    assert words in refusal(f"resolution = {text}\n[q]")


def test_a_queue_waits_on_a_ladder_of_its_own_unless_it_shares_one() -> None:
    """An empty value is its own, also where all others share one."""
    settings = read("ladder = crowd\n[a]\n[b]\n[c]\nladder =\n[d]\nladder = c")
    assert {name: queue.ladder for name, queue in settings.queues.items()} == {
        "a": "crowd",
        "b": "crowd",
        "c": "c",
        "d": "c",
    }
    assert (QueueSettings("q").ladder, QueueSettings("q", ladder="crowd").ladder) == ("q", "crowd")


def test_the_way_to_a_queue_is_over_its_ladder() -> None:
    """One that is not configured has a ladder of its own name."""
    settings = read("resolution = 1\nlevels = 3\n[a]\nladder = crowd\n[b]")
    rungs = Ladder(Decimal(1), 3)
    assert settings.way("a") == Way("a", "crowd", rungs)
    assert settings.way("b") == Way("b", "b", rungs)
    assert settings.way("elsewhere") == Way("elsewhere", "elsewhere", rungs)


def test_a_ladder_is_that_of_a_queue_where_one_has_its_name() -> None:
    """Also where only some queues of the file are looked at: what is planned may not depend on that."""
    settings = read("[a]\nladder = b\n[b]\n[c]\nladder = crowd")
    some = dataclasses.replace(settings, queues={"a": settings.queues["a"]})
    for each in (settings, some):
        assert each.layout.is_queue("a")
        assert each.layout.is_queue("b")
        assert not each.layout.is_queue("crowd")
    assert Settings(queues={"q": QueueSettings("q")}).layout.is_queue("q")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "[a]\nladder = b\n[b]\nladder = crowd",
            "x.ini:2: ladder: 'b' is a queue that waits on 'crowd': name that, or another",
        ),
        (
            "ladder = b\n[a]\n[b]\nladder = c\n[c]\nladder =",
            "x.ini:1: ladder: 'b' is a queue that waits on 'c'",
        ),
        ("[a]\nladder = b.dead", "x.ini:2: ladder: is a name that belongs to a queue, the"),
        ("[a]\nladder = b.wait.20s", "x.ini:2: ladder: is a name that belongs to a queue, the"),
        (
            "ladder = taskqueue.history\n[a]",
            "x.ini:1: ladder: is a name that belongs to a queue, the history",
        ),
        ("ladder = amq.direct\n[a]", "x.ini:1: ladder: is a name that belongs to a queue, the"),
        (f"[a]\nladder = {'x' * 201}", "x.ini:2: ladder: must be a name of at most 200 bytes"),
        ("ladder = " + "ü" * 101 + "\n[a]", "x.ini:1: ladder: must be a name of at most 200 bytes"),
        ("[a]\nladder = a\u200bb", "x.ini:2: ladder: must be a name of at most 200 bytes, all printable"),
        ("[a]\nlader = b", "x.ini:2: lader: is not a key; did you mean ladder?"),
    ],
)
def test_a_ladder_that_can_not_be_shared_is_refused(text: str, words: str) -> None:
    """A queue's ladder is its own or one that is headed by its name, never a chain."""
    assert words in refusal(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "x.ini: names no queue"),
        ("nonsense", "x.ini:1: must be 'key = value', '[queue]' or a comment"),
        (
            "[q]\nconcurrency = many",
            "x.ini:2: concurrency: must be a whole number from 1 to 1000",
        ),
        ("[q]\nconcurrency = 0", "x.ini:2: concurrency: must be a whole number from 1 to 1000, got '0'"),
        ("[q]\nconcurency = 3", "x.ini:2: concurency: is not a key; did you mean concurrency?"),
        ("[q]\nzzz = 3", "x.ini:2: zzz: is not a key; the keys are: ladder, base_url"),
        ("sever = x\n[q]", "x.ini:1: sever: is not a key; did you mean server?"),
        ("[q]\nserver = amqp://h", "x.ini:2: server: is for all queues: write it before the first section"),
        ("[q]\n[q]", "x.ini:2: [q] begins on line 1 already"),
        ("[q]\ntimeout = 1\ntimeout = 2", "x.ini:3: timeout: stands on line 2 already"),
        ("[taskqueue]\n[q]\n[taskqueue]", "x.ini:3: [taskqueue] begins on line 1 already"),
        (
            "[q]\nrate = 50",
            "x.ini:2: rate: must be like 50/s, 10/m or 1/h (up to 1000000), or empty for none, got '50'",
        ),
        ("[q]\nrate = 0/s", "rate: must be like"),
        ("[q]\nsuccess_status = 99", "success_status: must be statuses"),
        ("[q]\nsuccess_status = 300-200", "success_status: must be statuses from 100 to 599"),
        ("[q]\njitter = nan", "jitter: must be a number from 0 to 1"),
        ("[q]\ntimeout = 1e9", "timeout: must be a number from 0.001 to 1500 seconds"),
        (
            "[q]\nmin_backoff_seconds = 9\nmax_backoff_seconds = 3",
            "x.ini:2: min_backoff_seconds: must not be over",
        ),
        ("[q]\ndeny_networks = 10.0.0.1/8", "deny_networks: must be networks such as"),
        ("[q]\nfollow_redirects = maybe", "follow_redirects: must be yes or no"),
        (
            "resolution = 0.25\n[q]",
            "x.ini:1: resolution: must be one of 0.001, 0.01, 0.1, 1, 10 (seconds), got '0.25'",
        ),
        ("levels = 12\n[q]", "x.ini:1: levels: must be at most 9 with a resolution of 0.1 s"),
        ("resolution = 10\n[q]", "x.ini:1: levels: must be at most 7 with a resolution of 10 s"),
        (
            "levels = 12\nresolution = 0.001\n[q]",
            "x.ini:1: levels: must be at most 11 with a resolution of 0.001 s",
        ),
        ("queue_type = stream\n[q]", "queue_type: must be quorum or classic"),
        ("key_file = k\n[q]", "x.ini:1: key_file: needs cert_file beside it"),
        ("[q]\nrequest_key_file = k", "x.ini:2: request_key_file: needs request_cert_file beside it"),
        ("[q]\nper_host = 0", "per_host: must be a whole number from 1 to 1000"),
        ("[q]\nbasic_auth = me", "x.ini:2: basic_auth: must be user:password"),
        ("server =\n[q]", "x.ini:1: server: must be amqp://user:password@host:port/vhost"),
        ("server = amqp://h/a/b\n[q]", "x.ini:1: server: must be amqp://"),
        ("server = amqp://h:0\n[q]", "x.ini:1: server: must be amqp://"),
        (
            "server = amqp://h//\n[q]",
            "server: // at its end is how Celery writes the virtual host /: write one /",
        ),
        (
            "server = amqp://a, amqps://u:p@h:1//?heartbeat=5\n[q]",
            "server: // at its end is how Celery writes",
        ),
        (
            "server = amqp://h//tasks\n[q]",
            "server: // is how Celery begins the virtual host /tasks: write /%2Ftasks",
        ),
        (
            "server = pyamqp://h/\n[q]",
            "server: pyamqp:// is Celery's name for it: write amqp://, or amqps:// for TLS",
        ),
        ("server = PyAMQP://u:p@h//\n[q]", "server: pyamqp:// is Celery's name for it"),
        ("server = librabbitmq://h/\n[q]", "server: librabbitmq:// is Celery's name for it"),
        ("server = redis://h/\n[q]", "server: must be amqp://user:password@host:port/vhost or amqps://"),
        (
            "server = amqp://h/?hearbeat=5\n[q]",
            "server: hearbeat is not a parameter: the parameters are blocked_connection_timeout, ",
        ),
        ("server = amqp://h/?heartbeat=5&x_y=\n[q]", "server: x_y is not a parameter: the parameters are "),
        (
            "server = amqps://h/?cacertfile=/a.pem\n[q]",
            "server: cacertfile is not a parameter: write ca_file = … instead",
        ),
        (
            "server = amqps://h/?keyfile=/a.pem\n[q]",
            "server: keyfile is not a parameter: write key_file = … instead",
        ),
        ("server = amqp://h/?ssl=true\n[q]", "server: ssl is not a parameter: write amqps:// instead"),
        ("server = amqp://h/?heartbeat=often\n[q]", "server: heartbeat must be a whole number"),
        ("server = amqp://h/?socket_timeout=soon\n[q]", "server: socket_timeout must be a number"),
        ("server = amqp://h/?channel_max=1.5\n[q]", "server: channel_max must be a whole number"),
        ("[q]\nsuccess_status =", "x.ini:2: success_status: must not be empty"),
        ("[q]\nrate = 1000001/s", "x.ini:2: rate: must be like 50/s, 10/m or 1/h (up to 1000000)"),
        ("[q]\nbase_url = http://h/?a=b", "x.ini:2: base_url: must hold neither ? nor #"),
        ("[q]\nbase_url = http://h/#b", "x.ini:2: base_url: must hold neither ? nor #"),
        ("[q]\nbase_url = ftp://h", "x.ini:2: base_url: must be a URL http://host or https://host"),
        ("[q]\nbase_url = /a", "x.ini:2: base_url: must be a URL http://host or https://host"),
        ("[q]\nbase_url = http://[fe80::1%25eth0]/", "x.ini:2: base_url: must name a host as IDNA 2008"),
        ("[q]\nproxy = http://me@", "x.ini:2: proxy: must be a URL http://host"),
        ("[q]\ndeny_networks = 10.0.0.0/33", "deny_networks: must be networks such as"),
        ("[q]\ndeny_networks = x", "deny_networks: must be networks such as"),
        ("[q]\nproxy = https://h", "x.ini:2: proxy: must be a URL http://host"),
        ("[q]\nhandlers = signing", "x.ini:2: handlers: signing needs signing_secret in [q]"),
        ("handlers = basic\n[q]\nbearer_token = x", "x.ini:1: handlers: basic needs basic_auth in [q]"),
        (
            "handlers = bearer\n[a]\nbearer_token = x\n[q]",
            "x.ini:1: handlers: bearer needs bearer_token in [q]",
        ),
        ("[q]\nmin_backoff_seconds = 0", "must be a number from 0.001 to 315360000 seconds, got '0'"),
        ("[q]\nconcurrency = 5 # five", "from 1 to 1000 (a comment must stand on a line of its own)"),
        ("[.dead]", "x.ini:1: [.dead]: is a name that belongs to queue ''"),
        ("server = ${NOPE}\n[q]", "x.ini:1: server: environment variable NOPE is not set"),
        ("server = $HOME\n[q]", "x.ini:1: server: a variable is written ${NAME}, a dollar sign $$"),
        ("[amq.x]", "x.ini:1: [amq.x]: names that begin with amq. belong to RabbitMQ"),
        ("[a.dead]", "x.ini:1: [a.dead]: is a name that belongs to queue 'a': choose another"),
        ("[a]\n[a.wait.20s]", "x.ini:2: [a.wait.20s]: is a name that belongs to queue 'a' (a queue here)"),
        ("[]", "x.ini:1: []: a queue's name has 1 to 200 bytes, all printable"),
        (f"[{'ü' * 101}]", "a queue's name has 1 to 200 bytes, all printable"),
    ],
)
def test_an_error_names_file_line_and_key_and_what_is_allowed(text: str, words: str) -> None:
    """What an operator needs to mend it."""
    assert words in refusal(text)


@pytest.mark.parametrize(
    "text",
    [
        "server = http://me:hunter2@host\n[q]",
        "server = amqp://me:hunter2@host:port\n[q]",
        "[q]\nproxy = ftp://me:hunter2@host",
        "management_url = me:hunter2@host\n[q]",
        "server = amqp://me:12/hunter2@host\n[q]",
        "server = amqp://me:x,hunter2@host\n[q]",
        "server = amqp://me:12?hunter2@host\n[q]",
        "server = amqp://me:12?hunter2=1@host\n[q]",
        "server = amqp://me:12?hunter2@host//\n[q]",
        "server = amqp://me:12//hunter2@host\n[q]",
        "server = hunter2://host//\n[q]",
        "server = amqp://host/?password=hunter2\n[q]",
        "amqp://me:hunter2@host?heartbeat=10\n[q]",
        "[q]\nsigning_secret =\n  hunter2hunter2==",
        "[q]\nbase_url = https://me:hunter2@host",
        "[q]\nbase_url = me:hunter2@host",
        "[q]\nconcurrency = amqp://me:hunter2@host",
        "server = amqp://me:${hunter2@host\n[q]",
        "[q]\nbearer_token = hunter2 hunter2",
        "[q]\nbasic_auth = hunter2",
    ],
)
def test_a_secret_is_in_no_error(text: str) -> None:
    """Errors go to logs."""
    assert "hunter2" not in refusal(text)


def test_the_parameters_of_a_server_are_those_of_pika() -> None:
    """A name that pika does not know it passes over in silence."""
    prefix = "_set_url_"
    known = {name.removeprefix(prefix) for name in dir(pika.URLParameters) if name.startswith(prefix)}
    assert known == addresses.PARAMETERS
    read("server = amqp://h/?heartbeat=5&socket_timeout=1.5&tcp_options={'TCP_KEEPIDLE':60}\n[q]")


@pytest.mark.parametrize("secret", ["hunter2", "hunter2=", "me:hunter2", "amqp://me:hunter2@h", "12 hunter2"])
@pytest.mark.parametrize("key", sorted(GLOBAL_KEYS.keys() | QUEUE_KEYS.keys()))
def test_a_secret_behind_the_wrong_key_is_in_no_error(key: str, secret: str) -> None:
    """Whichever key that is."""
    told = ""
    try:
        read(f"{key} = {secret}\n[q]")
    except ConfigError as error:
        told = str(error)
    assert told == "" or told.startswith(f"x.ini:1: {key}: ")
    assert "hunter2" not in told


def test_a_secret_is_in_no_repr() -> None:
    """Nor where settings are shown whole."""
    text = "server = amqp://me:hunter2@h\nmanagement_url = http://me:hunter2@h\n"
    text += "[q]\nproxy = http://me:hunter2@h\nsigning_secret = hunter2"
    text += "\nbearer_token = hunter2\nbasic_auth = me:hunter2"
    assert "hunter2" not in repr(read(text))


def test_the_file_is_found_where_the_environment_says(tmp_path: Path) -> None:
    """--config goes first."""
    (tmp_path / "a.ini").write_text("[a]")
    (tmp_path / "b.ini").write_text("[b]")
    environ = {"TASKQUEUE_CONFIG_FILE": str(tmp_path / "b.ini")}
    assert list(load(tmp_path / "a.ini", environ).queues) == ["a"]
    assert list(load(None, environ).queues) == ["b"]


def test_no_file_says_where_it_was_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And how to name one."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"looked at \$TASKQUEUE_CONFIG_FILE.*--config"):
        load(None, {})
    with pytest.raises(ConfigError, match=r"nowhere\.ini: can't be read: No such file"):
        load(Path("nowhere.ini"), {})
    with pytest.raises(
        ConfigError, match=r"nowhere\.ini: can't be read: No such file.*\$TASKQUEUE_CONFIG_FILE names it"
    ):
        load(None, {"TASKQUEUE_CONFIG_FILE": "nowhere.ini"})


def test_a_file_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    """In one line."""
    (tmp_path / "x.ini").write_bytes(b"[q]\xff")
    with pytest.raises(ConfigError, match=r"is not UTF-8 \(byte 3\)"):
        load(tmp_path / "x.ini", {})


PIECES = [
    *GLOBAL_KEYS,
    *QUEUE_KEYS,
    "=",
    "[",
    "]",
    "q",
    "\n",
    " ",
    "${",
    "}",
    "$$",
    "1",
    "0.1",
    "amqp://h",
    ",",
    "-",
]
words = st.sampled_from(PIECES)
values = st.text(max_size=20) | st.sampled_from(
    ["1" * 400, "1" * 5000, "1e999", "-0", "nan", "[::1", "http://[", "2xx-"]
)


@given(st.sampled_from([*GLOBAL_KEYS, *QUEUE_KEYS]), values)
def test_no_value_raises_anything_but_a_config_error(key: str, value: str) -> None:
    """What loads can be used: a rate as a number, a ladder's rungs as lengths of stay."""
    text = f"[q]\n{key} = {value}" if key in QUEUE_KEYS else f"{key} = {value}\n[q]"
    try:
        settings = read(text)
    except ConfigError as error:
        shown = str(error)
    else:
        rate = settings.queues["q"].rate
        assert rate is None or rate.per_second > 0
        assert max(map(settings.rungs.ttl_ms, settings.rungs.rungs())) <= 315_360_000_000
        return
    assert shown.startswith("x.ini:")
    assert "\n" not in shown


@given(st.lists(words, max_size=30).map("".join) | st.text(max_size=80))
def test_no_text_raises_anything_but_a_config_error(text: str) -> None:
    """A user's mistake is never a traceback."""
    try:
        queues, shown = read(text).queues, ""
    except ConfigError as error:
        queues, shown = {}, str(error)
    assert queues or shown.startswith("x.ini")
