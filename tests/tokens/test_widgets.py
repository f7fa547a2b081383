"""Pieces in colour and the player: what they show, offline, and the same in every run."""

import re

import pytest

from lib.widgets import Frame, player, tokens

FRAMES = [
    Frame("Merge 1", [("pair", "count"), ("a + b", "5"), ("<b> + c", "3")], {0}, [(("ab", "c"), 5), (("d",), 2)]),
    Frame("Merge 2", [("pair", "count"), ("ab + c", "5")], {0}, [(("abc",), 5), (("d",), 2)]),
]


def cells(html: str, mark: str) -> list[str]:
    return re.findall(rf"<td{mark}>(.*?)</td>", html)


def test_a_frame_shows_its_table_the_choice_and_the_words():
    first, second = re.findall(r"<section.*?</section>", player(FRAMES).data)
    assert cells(first, "") == ["pair", "count", "&lt;b&gt; + c", "3"] and cells(first, ' class="on"') == ["a + b", "5"]
    assert "5 × <span>ab</span><span class=odd>c</span>" in first and "2 × <span>d</span>" in first
    assert first.startswith("<section>") and second.startswith("<section hidden>")  # without JavaScript: the first
    assert 'max="1"' in player(FRAMES).data


def test_pieces_stand_side_by_side_with_their_number():
    html = tokens({"BPE": ["un", "<i>", "able"], "none": []}).data
    assert "<b>BPE</b><span>un</span><span class=odd>&lt;i&gt;</span><span>able</span> (3)" in html
    assert "<b>none</b> (0)" in html


def test_they_need_no_network_and_do_not_change():
    html = player(FRAMES).data
    assert "http" not in html + tokens({"a": ["b"]}).data and "src=" not in html
    assert html == player(FRAMES).data
    name = re.compile(r'id="(play-\w+)"')
    assert name.findall(html) != name.findall(player(FRAMES[:1]).data)


def test_an_animation_without_a_frame_is_an_error():
    with pytest.raises(ValueError, match="a frame or more"):
        player([])
