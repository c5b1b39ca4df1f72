"""What the explorer answers before a process can compute."""

import json
import subprocess
import sys

import pytest

from lazyrich._explore.first import FILE, first_answer

from .explorer import served

LAB = {"experiment": {"base": "lyu2024/1a", "changes": {}}}


@pytest.mark.slow
def test_the_file_has_the_answers_of_the_jobs():
    # In a process of its own, because tests define kinds, and the controls list all kinds.
    code = (
        "import sys; from lazyrich._explore.first import first_answers as f; sys.stdout.write(f())"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert FILE.read_bytes() == found.stdout, "run python mkdocs_tables.py"


def test_only_what_the_page_asks_first_is_known():
    assert first_answer("lab.describe", {**LAB, "more": 1}, None) is None
    assert first_answer("lab.forecast", LAB, None) is None
    listed = first_answer("lab.list", {}, "/tmp/mine.toml")
    assert listed is not None
    assert json.loads(listed)["source"] == "/tmp/mine.toml"


@pytest.mark.slow
def test_the_page_has_its_controls_while_the_processes_start():
    with served() as explorer, explorer.tab() as tab:
        tab.ask("lab.list")
        number = tab.ask("lab.describe", LAB)
        heard = [json.loads(tab.socket.recv(20))]
        while (heard[-1]["id"], heard[-1]["event"]) != (number, "done"):
            heard.append(json.loads(tab.socket.recv(20)))
        states = {one["data"]["state"] for one in heard if one["event"] == "worker"}
        assert states == {"starting"}
        (listed,) = (one["data"] for one in heard if "experiments" in one["data"])
        assert "lyu2024/1a" in [one["name"] for one in listed["experiments"]]
        # The page goes on to the version of the panel at the size of the Lab.
        changes = heard[-1]["data"]["presets"][0]["changes"]
        small = {"experiment": {"base": "lyu2024/1a", "changes": changes}}
        described = tab.end(tab.ask("lab.describe", small))["data"]
        values = {field["key"]: field["value"] for field in described["fields"]}
        assert {key: values[key] for key in changes} == changes
        # Another experiment waits for a process.
        other = tab.ask("lab.describe", {"experiment": {"base": "lyu2024/3", "changes": {}}})
        assert tab.end(other)["data"]["name"] == "lyu2024/3"
