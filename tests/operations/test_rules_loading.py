"""The rules and the registry on disk become one state, or a list of what is wrong; never half of it."""

import pytest

from monitor.runtime.rules import load, watched

RULE = "rules: [{id: %s, summary: s, severity: info, never: {type: fall, to: %s}}]\n"


@pytest.fixture
def disk(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "ed.yaml").write_text(RULE % ("falls", "ed"))
    (tmp_path / "microsystems.yaml").write_text("microsystems: [{id: ed}]\n")
    return tmp_path


def codes(problems):
    return [(each.severity, each.code, each.file) for each in problems]


def test_files_packs_and_the_registry_become_one_state(disk):
    loaded, problems = load(["rules", "pack:transit"], "microsystems.yaml")
    assert [each for each in problems if each.severity == "error"] == []
    assert loaded.rules[0].id == "falls"
    assert len(loaded.rules) > 1
    assert loaded.registry.microsystem("ed") is not None


def test_without_rules_and_registry_there_is_an_empty_state(disk):
    loaded, problems = load([], None)
    assert (list(loaded.rules), problems) == ([], [])


def test_the_digest_is_that_of_the_contents(disk):
    first = load(["rules"], "microsystems.yaml")[0].digest
    assert load(["rules/ed.yaml"], "microsystems.yaml")[0].digest == first
    (disk / "rules" / "ed.yaml").write_text(RULE % ("falls", "'*'"))
    second = load(["rules"], "microsystems.yaml")[0].digest
    (disk / "microsystems.yaml").write_text("microsystems: [{id: ed}, {id: icu}]\n")
    third = load(["rules"], "microsystems.yaml")[0].digest
    assert len({first, second, third, load(["rules"], None)[0].digest}) == 4


@pytest.mark.parametrize(
    ("spoil", "wrong"),
    [
        (
            lambda disk: (disk / "rules" / "ed.yaml").write_text("rules: [{id: x}]"),
            ("error", "no-form", "rules/ed.yaml"),
        ),
        (
            lambda disk: (disk / "rules" / "more.yaml").write_text(RULE % ("falls", "ed")),
            ("error", "duplicate-id", "rules/more.yaml"),
        ),
        (lambda disk: (disk / "rules" / "ed.yaml").unlink(), ("error", "no-rule-files", "rules")),
        (
            lambda disk: (disk / "rules").rename(disk / "away"),
            ("error", "unreadable", "rules"),
        ),
        (
            lambda disk: (disk / "microsystems.yaml").unlink(),
            ("error", "unreadable", "microsystems.yaml"),
        ),
        (
            lambda disk: (disk / "microsystems.yaml").write_text("microsystems: 7"),
            ("error", "bad-value", "microsystems.yaml"),
        ),
    ],
)
def test_what_is_wrong_is_told_and_nothing_is_loaded(disk, spoil, wrong):
    spoil(disk)
    loaded, problems = load(["rules"], "microsystems.yaml")
    assert loaded is None
    assert wrong in codes(problems)


def test_an_unknown_pack_is_told(disk):
    loaded, problems = load(["pack:nonsense"], None)
    assert loaded is None
    assert codes(problems) == [("error", "unreadable", "pack:nonsense")]


def test_rules_that_need_a_registry_are_warned_of_without_one(disk):
    loaded, problems = load(["pack:ed"], None)
    assert loaded is not None
    assert ("warning", "no-registry", "rules") in codes(problems)


def test_the_versions_that_kubernetes_keeps_beside_a_mounted_directory_are_not_read(disk):
    (disk / "rules" / "..2026_01").mkdir()
    (disk / "rules" / "..2026_01" / "ed.yaml").write_text(RULE % ("falls", "ed"))
    loaded, problems = load(["rules"], "microsystems.yaml")
    assert problems == []
    assert len(loaded.rules) == 1


def test_packs_do_not_change_on_disk():
    assert watched(["rules", "pack:ed", "more.yaml"], "m.yaml") == ["rules", "more.yaml", "m.yaml"]
