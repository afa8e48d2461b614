import pytest

from clearcut.__main__ import main
from clearcut.accounts.keys import parse_key_id
from clearcut.accounts.ledger import Ledger
from clearcut.accounts.schema import open_engine


@pytest.fixture
def keys(tmp_path, monkeypatch, capsys):
    """Return a function: ``keys("list")`` returns the exit code and the output."""
    monkeypatch.setenv("CLEARCUT_DATABASE_URL", f"sqlite:///{tmp_path}/a.db")

    def run(*arguments):
        code = main(["keys", *arguments])
        return code, capsys.readouterr().out.strip()

    return run


def test_create_list_set_credits_revoke(keys, tmp_path):
    _, key = keys("create", "the shop", "--monthly", "50", "--concurrent", "2")
    assert parse_key_id(key)
    _, line = keys("list")
    assert line.split("\t") == [parse_key_id(key), "valid", "monthly", "0 of 50 used", "the shop"]
    assert key.split("_", 2)[2] not in line  # a secret may contain "_"
    assert keys("set-credits", key, "--prepaid", "7")[0] == 0
    assert "prepaid\t0 of 7 used" in keys("list")[1]
    assert keys("set-credits", parse_key_id(key), "--unlimited")[0] == 0
    assert "unlimited\t0 used" in keys("list")[1]
    assert keys("revoke", parse_key_id(key))[0] == 0
    assert "revoked" in keys("list")[1]
    ledger = Ledger(open_engine(f"sqlite:///{tmp_path}/a.db", 1), 0)
    assert ledger.find(parse_key_id(key)).quotas.concurrent == 2
    ledger.close()


def test_set_credits_requires_a_plan(keys, capsys):
    _, key = keys("create", "shop", "--prepaid", "7")
    with pytest.raises(SystemExit) as exit_info:
        keys("set-credits", key)
    assert exit_info.value.code == 2
    assert "--monthly --prepaid --unlimited" in capsys.readouterr().err
    assert "prepaid\t0 of 7 used" in keys("list")[1]


@pytest.mark.parametrize(
    ("plan", "text"),
    [
        (["--monthly", "5"], "5 credits a month"),
        (["--prepaid", "6"], "6 prepaid credits"),
        (["--unlimited"], "unlimited credits"),
    ],
)
def test_set_credits_prints_the_new_plan(keys, capsys, plan, text):
    _, key = keys("create", "shop")
    assert main(["keys", "set-credits", "shop", *plan]) == 0
    assert capsys.readouterr().err == f"{parse_key_id(key)}: {text}; used credits: 0\n"


def test_create_explains_the_use_beside_the_key(keys, capsys):
    assert main(["keys", "create", "shop"]) == 0
    output = capsys.readouterr()
    assert parse_key_id(output.out.strip())  # scripts read only the key
    assert "X-API-Key: $CLEARCUT_API_KEY" in output.err
    assert output.out.strip() not in output.err


def test_revoke_accepts_the_name_of_one_valid_key(keys, capsys):
    _, first = keys("create", "shop")
    _, second = keys("create", "shop")
    assert main(["keys", "revoke", "shop"]) == 1
    message = capsys.readouterr().err
    assert parse_key_id(first) in message
    assert parse_key_id(second) in message
    assert keys("revoke", first)[0] == 0
    assert keys("revoke", "shop")[0] == 0
    assert keys("list")[1].count("revoked") == 2
    assert keys("revoke", "shop")[0] == 1


def test_key_with_an_existing_name_gets_a_note(keys, capsys):
    _, first = keys("create", "shop")
    assert main(["keys", "create", "shop"]) == 0
    output = capsys.readouterr()
    assert f"another key has the name shop ({parse_key_id(first)})" in output.err
    assert parse_key_id(output.out.strip())
    assert main(["keys", "create", "other"]) == 0
    assert "another key" not in capsys.readouterr().err


@pytest.mark.parametrize("name", ["", " "])
def test_empty_name_is_refused(keys, capsys, name):
    with pytest.raises(SystemExit) as exit_info:
        keys("create", name)
    assert exit_info.value.code == 2
    assert "name: expected a name" in capsys.readouterr().err


def test_unknown_key_and_missing_database_are_errors(keys, monkeypatch):
    assert keys("revoke", "nobody")[0] == 1
    monkeypatch.delenv("CLEARCUT_DATABASE_URL")
    assert keys("list")[0] == 1


def test_negative_credits_are_refused(keys):
    with pytest.raises(SystemExit):
        keys("create", "x", "--prepaid", "-1")
