"""Texts of others that are printed: they neither steer a terminal nor add a line."""

import logging

from weekahead.cli import configure_logging, run_command, say
from weekahead.visible import one_line, shown, visible


def test_each_unprintable_character_is_shown():
    assert (
        visible("a\x00b\x1b[1m\ud800\u202e\t\r\nc\r") == "a\ufffdb\ufffd[1m\ufffd\ufffd\t\nc\ufffd"
    )
    assert visible("größe 5 €") == "größe 5 €"
    assert one_line("a\rb\nc\u2028d\x85e") == "a b c d e"
    assert shown(3) == 3 and shown("\x1b") == "\ufffd"


def test_a_template_keeps_its_markup():
    from markupsafe import Markup

    assert shown(Markup("<b>")).__html__() == "<b>"


def test_a_line_and_an_error_are_printed_without_control_characters(capsys):
    def fail():
        raise ValueError("the server said \x1b[31m\x1b]0;title\x07\nok: done")

    assert run_command("enter", fail) == 2
    said = capsys.readouterr().err
    assert said == "enter: the server said \ufffd[31m\ufffd]0;title\ufffd ok: done\n"
    say("a\x1b\nb  \udcff")
    assert capsys.readouterr().out == "a\ufffd b  \\udcff\n"


def test_a_log_message_holds_no_control_characters(monkeypatch):
    handler = logging.StreamHandler()
    monkeypatch.setattr(logging.getLogger(), "handlers", [handler])
    configure_logging()
    record = logging.LogRecord("x", logging.INFO, "", 0, "said %s", ("\x1b[31m",), None)
    assert handler.format(record) == "said \ufffd[31m"
