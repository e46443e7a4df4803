"""Checklists: what is a line, where it belongs, and that writing back changes nothing else."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from exporter.checklist import MAX_BYTES, Checklist, ChecklistError, normalized, unnumbered

BUNDLED = files("collectors").joinpath("checklist.md").read_bytes().decode()


def lines(text: str) -> list[tuple[str, str]]:
    return [
        (section.heading, line.text) for section in Checklist.parse(text, "x.md").sections for line in section.lines
    ]


def test_bundled_checklist_has_all_sections_and_lines() -> None:
    checklist = Checklist.parse(BUNDLED, "checklist.md")
    assert (len(checklist.sections), len(checklist.lines)) == (34, 205)
    postgresql = checklist.sections[1]
    assert postgresql.heading == "PostgreSQL Database"
    assert postgresql.level == 5
    assert postgresql.parents[-2:] == ("Infrastructure Components", "Infrastructure Services")
    assert postgresql.lines[5].text == "Slow query logging is enabled"
    assert BUNDLED.splitlines()[postgresql.lines[5].number - 1] == "- [ ] Slow query logging is enabled"


def test_bundled_checklist_survives_a_round_trip_byte_for_byte() -> None:
    checklist = Checklist.parse(BUNDLED, "checklist.md")
    numbers = [line.number for line in checklist.lines]
    assert checklist.render({}) == BUNDLED
    assert checklist.render(dict.fromkeys(numbers, False)) == BUNDLED
    ticked = Checklist.parse(checklist.render(dict.fromkeys(numbers, True), dict.fromkeys(numbers, "ok")), "x.md")
    assert all(line.ticked for line in ticked.lines)
    assert [line.text for line in ticked.lines] == [line.text for line in checklist.lines]
    assert ticked.render(dict.fromkeys(numbers, False), dict.fromkeys(numbers, "")) == BUNDLED


def test_nested_boxes_are_lines_with_a_depth() -> None:
    [section] = Checklist.parse(
        "# A\n- [ ] top:\n  - [x] inner\n    1. [X] innermost\n- plain\n  - [ ] under plain\n", "x"
    ).sections
    assert [(line.text, line.ticked, line.depth) for line in section.lines] == [
        ("top:", False, 0),
        ("inner", True, 1),
        ("innermost", True, 2),
        ("under plain", False, 1),
    ]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("- [] x", 2), ("- [x]glued", 2), ("- [ ]glued", 2), ("- [ x ] y", 2), ("- [x ] y", 2), ("- [✓] x", 2), ("- ☐ x", 2),
        ("1. [✔] x", 2), ("[ ] no dash", 2), ("-[ ] no space", 2), ("1.[ ] no space", 2), ("2)[x] no space", 2),
        ("text\n[ ] in a paragraph", 3),
        ("| done | what |\n|---|---|\n| [ ] | x |", 4), ("<ul>\n<li><input type=\"checkbox\"> x</li></ul>", 3),
        ("<p>\n[ ] x</p>", 3), ("- [~] x", 2), ("- [>] x", 2), ("- ［ ］x", 2), ("- ［x］ x", 2),
    ],
)  # fmt: skip
def test_what_looks_like_a_box_and_is_none_is_warned_of(text: str, number: int) -> None:
    checklist = Checklist.parse(f"# A\n{text}\n\n- [ ] real\n", "x.md")
    assert [line.text for line in checklist.lines] == ["real"]
    [(found, sentence)] = checklist.warnings
    assert found == number
    assert sentence.endswith("is not a line: write lines as '- [ ] What must hold'.")


@pytest.mark.parametrize(
    "text",
    [
        "- [link](https://example.com) x", "- [a][b] x\n\n[b]: https://example.com",
        "- text [ ] within", "<!--\n- [] x\n-->", "```\n- [] x\n```",
        "- [1] note", "> [!NOTE]\n> x", "a | b", "- [x](https://example.com)", "`- [] x`",
    ],
)  # fmt: skip
def test_what_is_no_box_at_all_is_not_warned_of(text: str) -> None:
    assert Checklist.parse(f"# A\n{text}\n\n- [ ] real\n", "x.md").warnings == ()


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(("fence", "close"), [("---", "---"), ("---", "..."), ("+++", "+++")])
def test_front_matter_is_no_heading(end: str, fence: str, close: str) -> None:
    text = end.join([fence, "title: Launch", "# comment", close, "# A", "- [ ] a", ""])
    [section] = Checklist.parse(text, "x").sections
    assert (section.title, section.parents, section.number) == ("A", (), 5)
    assert Checklist.parse(text, "x").render({6: True}) == text.replace("[ ]", "[x]")


def test_a_rule_above_a_checklist_is_no_front_matter() -> None:
    assert lines("---\n# A\n- [ ] a\n---\n- [ ] b\n") == [("A", "a"), ("A", "b")]


def test_titles_are_what_markdown_shows() -> None:
    text = "# **A** `b` <!-- name: ab -->\n- [ ] *marked* `up` [link](x) ![alt](i) a&amp;b<br>c <!-- note -->\n"
    [section] = Checklist.parse(text, "x").sections
    assert (section.title, section.name) == ("A b", "ab")
    assert section.lines[0].title == "marked up link alt a&b c"


def test_titles_know_the_links_that_the_document_defines_elsewhere() -> None:
    text = "# A\n- [ ] ![High][badge] **Doctype** is [HTML5][spec] <!-- verified --> old\n\n[badge]: b.svg\n[spec]: https://example.com\n"
    assert Checklist.parse(text, "x").lines[0].title == "High Doctype is HTML5"


def test_a_file_of_near_boxes_alone_says_which_they_are() -> None:
    with pytest.raises(ChecklistError, match=r"x: The checklist has no boxes(.|\n)*x:2: '\[\] a' is not a line"):
        Checklist.parse("# A\n- [] a\n", "x")


@pytest.mark.parametrize("last", ["(see the wiki)", "2 weeks long", "数据库", "*emphasis* ends", "`code`"])
def test_an_annotation_stands_behind_the_last_row(last: str) -> None:
    text = f"# A\n- [ ] Backups are kept for\n  {last}\n- [ ] next\n"
    shown = Checklist.parse(text, "x").render({}, {2: "failed"})
    assert shown == text.replace(last, f"{last} <!-- verified --> failed")
    assert Checklist.parse(shown, "x").lines[0].text == f"Backups are kept for {last}"
    earlier = text.replace("kept for", "kept for <!-- verified --> old")
    assert Checklist.parse(earlier, "x").render({}, {2: "failed"}) == shown, "what an older version wrote is replaced"


def test_lines_are_bound_by_a_comment() -> None:
    text = "# A\r\n- [ ] one\r\n  goes on\r\n- [x] two <!-- verified --> ok\r\n"
    bound = Checklist.parse(text, "x").bound({2: "a.b", 4: "c.d"})
    assert bound == text.replace("goes on", "goes on <!-- item: a.b -->").replace("two", "two <!-- item: c.d -->")
    assert [line.item for line in Checklist.parse(bound, "x").lines] == ["a.b", "c.d"]


def test_same_text_under_two_headings_is_two_lines() -> None:
    assert lines("# A\n- [ ] same\n# B\n- [ ] same\n") == [("A", "same"), ("B", "same")]


def test_headings_of_any_depth_and_kind_name_sections() -> None:
    text = "Title\n=====\n\n###### Deep `code`\n- [ ] a\n\nSecond\n------\n- [ ] b\n"
    sections = Checklist.parse(text, "x").sections
    assert [(s.heading, s.level, s.parents, s.number) for s in sections] == [
        ("Deep `code`", 6, ("Title",), 4),
        ("Second", 2, ("Title",), 7),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# A\n```\n- [ ] in a fence\n```\n- [ ] real\n", ["real"]),
        ("# A\n- [ ] real\n\n      - [ ] in an indented block\n", ["real"]),
        ("# A\n<!--\n- [ ] in a comment\n-->\n\n- [ ] real\n", ["real"]),
        ("# A\n> - [ ] quoted\n> > 1) [x] twice\n", ["quoted", "twice"]),
        ("# A\n- [ ]\tafter a tab\n- [y] other\n- [x]glued\n- text [ ] within\n", ["after a tab"]),
        ("# A\n- [ ] one\n  goes on\n\n  another paragraph\n", ["one goes on"]),
        ("# A\n- - [ ] list in a list\n* [ ] star\n+ [ ] plus\n", ["list in a list", "star", "plus"]),
        ("# A\n- # not a section\n- > [ ] no item\n- [ ] *marked* `up` [link](x)\n", ["*marked* `up` [link](x)"]),
        ("# A\n- [ ] form\x0cfeed and \u2028 separator\n- [ ] next\n", ["form\x0cfeed and \u2028 separator", "next"]),
    ],
)
def test_what_is_a_line(text: str, expected: list[str]) -> None:
    assert [line for _, line in lines(text)] == expected


def test_boxes_are_found_as_deep_as_people_nest() -> None:
    text = "# A\n" + "".join("  " * depth + f"- [ ] level {depth}\n" for depth in range(30))
    assert [line.depth for line in Checklist.parse(text, "x").lines] == list(range(30))


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
def test_line_ends_and_byte_order_mark_stay(end: str, bom: str) -> None:
    text = bom + end.join(["# A", "", "- [ ] one", "- [X] two", "  - [x] three"])
    checklist = Checklist.parse(text, "x")
    assert [(line.text, line.number) for line in checklist.lines] == [("one", 3), ("two", 4), ("three", 5)]
    assert checklist.render({}) == text
    assert checklist.render({4: True}) == text, "a ticked box keeps its letter"
    expected = text.replace("- [ ] one", "- [x] one").replace("[x] three", "[ ] three")
    assert checklist.render({3: True, 5: False}) == expected


def test_byte_order_mark_before_a_box_on_the_first_line() -> None:
    with pytest.raises(ChecklistError, match="x:1: The box is above the first heading"):
        Checklist.parse("\ufeff- [ ] early\n", "x")


def test_item_annotation_is_read_and_left_out_of_the_text() -> None:
    [line] = Checklist.parse("# A\n- [ ] Failover works <!-- item: postgresql.failover_tested --> well\n", "x").lines
    assert (line.text, line.item) == ("Failover works well", "postgresql.failover_tested")


def test_other_comments_and_comments_in_code_are_text() -> None:
    text = "# A\n- [ ] a <!-- note --> `<!-- item: x.y -->`\n"
    [line] = Checklist.parse(text, "x").lines
    assert (line.text, line.item) == ("a <!-- note --> `<!-- item: x.y -->`", None)


def test_annotations_are_replaced_and_removed() -> None:
    text = "# A\n- [ ] one\n  goes on  \n- [ ] two <!-- item: a.b -->\n- [ ] three"
    checklist = Checklist.parse(text, "x")
    first = checklist.render(
        {2: True}, {2: "ok: all\nis *well* in pg_stat_replication [1] <b>", 4: "failed", 5: "late"}
    )
    assert first == (
        "# A\n- [x] one\n  goes on   <!-- verified --> ok: all is \\*well\\* in pg_stat_replication \\[1\\] \\<b>\n"
        "- [ ] two <!-- item: a.b --> <!-- verified --> failed\n- [ ] three <!-- verified --> late"
    )
    again = Checklist.parse(first, "x")
    assert [(line.text, line.item) for line in again.lines] == [("one goes on", None), ("two", "a.b"), ("three", None)]
    second = again.render({}, {2: "unknown", 4: ""})
    assert second == (
        "# A\n- [x] one\n  goes on   <!-- verified --> unknown\n- [ ] two <!-- item: a.b -->\n- [ ] three <!-- verified --> late"
    )


def test_a_number_that_is_no_line_is_refused() -> None:
    with pytest.raises(KeyError):
        Checklist.parse("# A\n- [ ] one\n", "x").render({1: True})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "x.md: The checklist has no boxes: write lines as '- [ ] What must hold'."),
        (b"# Title\n\ntext\n", "x.md: The checklist has no boxes: write lines as '- [ ] What must hold'."),
        (b"# A\n- [ ] caf\xe9\n", "x.md:2: The checklist is not UTF-8 text."),
        (b"# A\n\n\0- [ ] a\n", "x.md:3: The checklist is not text: it contains a NUL character."),
        (b"# A\n- [ ] a\n- [ ]\n", "x.md:3: The box has no text: write what must hold after it."),
        (b"# A\n- [ ] a\n- [x] <!-- item: a.b -->\n", "x.md:3: The box has no text: write what must hold after it."),
        (b"- [ ] a\n# A\n- [ ] b\n", "x.md:1: The box is above the first heading, so it belongs to no section."),
        (b"#" * (MAX_BYTES + 1), f"x.md: The checklist is larger than {MAX_BYTES:,} bytes."),
    ],
    ids=["empty", "no boxes", "not UTF-8", "NUL", "no text", "only an annotation", "no heading", "huge"],
)  # fmt: skip
def test_bad_checklists_are_told_with_file_and_line(data: bytes, message: str) -> None:
    with pytest.raises(ChecklistError) as caught:
        Checklist.decode(data, "x.md")
    assert str(caught.value) == message


def test_reading_a_file(tmp_path: Path) -> None:
    path = tmp_path / "own.md"
    path.write_text("# A\n- [ ] a\n")
    assert Checklist.read(path).name == str(path)
    with pytest.raises(ChecklistError, match=r"cannot be read: Is a directory\.$"):
        Checklist.read(tmp_path)
    with pytest.raises(ChecklistError, match=r"cannot be read: No such file or directory\.$"):
        Checklist.read(tmp_path / "none.md")


# What people write: rows of headings, boxes, prose and odds and ends, in any order and with any line ends.
ROWS = st.one_of(
    st.builds("{} {}".format, st.sampled_from(["#", "##", "###", "> #"]), st.text("ab *_`<!->[]()x ", max_size=12)),
    st.builds(
        "{}{}{}{}".format,
        st.sampled_from(["", "  ", "    ", "> ", "\t"]),
        st.sampled_from(["- ", "* ", "1. ", "- - ", ""]),
        st.sampled_from(["[ ] ", "[x] ", "[X] ", "[ ]", ""]),
        st.text("ab *_`<!->[]()x&\\\t ", max_size=20),
    ),
    st.sampled_from(["", "```", "<!--", "-->", "---", "a <!-- item: x.y -->", "- [ ] b <!-- verified --> old"]),
)
DOCUMENTS = st.builds(
    lambda bom, rows, ends: bom + "# T\n- [ ] first\n" + "".join(a + b for a, b in zip(rows, ends, strict=False)),
    st.sampled_from(["", "\ufeff"]),
    st.lists(ROWS, max_size=12),
    st.lists(st.sampled_from(["\n", "\r\n", "\r"]), min_size=12, max_size=12),
)


def parsed(text: str) -> Checklist | None:
    try:
        return Checklist.parse(text, "x")
    except ChecklistError:
        return None


@given(DOCUMENTS, st.text(max_size=30))
@example("# T\n- [ ] `\na <!-- item: x.y -->\n", "`")
def test_writing_back_changes_boxes_and_annotations_alone(text: str, annotation: str) -> None:
    if (checklist := parsed(text)) is None:
        return
    as_it_is = {line.number: line.ticked for line in checklist.lines}
    assert checklist.render(as_it_is) == text
    clean = checklist.render({}, dict.fromkeys(as_it_is, ""))
    numbers = {line.number: not line.ticked for line in checklist.lines}
    annotated = Checklist.parse(Checklist.parse(clean, "x").render(numbers, dict.fromkeys(numbers, annotation)), "x")
    assert [(line.number, line.ticked) for line in annotated.lines] == list(numbers.items())
    assert [line.text for line in annotated.lines] == [line.text for line in checklist.lines]
    back = annotated.render(as_it_is, dict.fromkeys(numbers, ""))
    assert back.replace("[X]", "[x]") == clean.replace("[X]", "[x]")


@given(st.text())
def test_no_text_crashes_it(text: str) -> None:
    if (checklist := parsed(text)) is not None:
        assert checklist.render({}) == text


@given(st.binary())
def test_no_bytes_crash_it(data: bytes) -> None:
    try:
        Checklist.decode(data, "x")
    except ChecklistError:
        return


@pytest.mark.parametrize(
    ("title", "shown"),
    [
        ("3. Redis Cache", "Redis Cache"),
        ("3) Redis", "Redis"),
        ("(12) Redis", "Redis"),
        ("4.1 Index is fresh", "Index is fresh"),
        ("1.2.3. Deep", "Deep"),
        ("2 replicas", "2 replicas"),
        ("99.9 % available", "99.9 % available"),
        ("1.25 GB free", "1.25 GB free"),
        ("404: gone", "404: gone"),
        ("3.", "3."),
    ],
)
def test_the_number_of_a_place_is_no_part_of_a_title(title: str, shown: str) -> None:
    assert unnumbered(title) == shown


@pytest.mark.parametrize(
    ("text", "number", "said"),
    [
        ("- [ ] A <!-- name: X y -->", 2, "binds nothing"),
        ("- [ ] A <!-- items: redis.pods_healthy -->", 2, "binds nothing"),
        ("- [ ] A <!-- item: a.b --> <!-- item: a.c -->", 2, "the last one counts"),
        ("text\n    - [ ] lost\n- [ ] A", 3, "'- [ ] lost' is not a line"),
        ("   - [ ] A\n    - [ ] lost", 3, "'- [ ] lost' is not a line"),
        ("".join(f"{'  ' * depth}- [ ] d{depth}\n" for depth in range(60)), 61, "'- [ ] d59' is not a line"),
    ],
)
def test_what_is_lost_is_reported(text: str, number: int, said: str) -> None:
    warnings = dict(Checklist.parse(f"# L\n{text}\n", "x.md").warnings)
    assert said in warnings[number]


@pytest.mark.parametrize(
    "text",
    [
        "```\n- [ ] x\n```",
        "<!--\n- [ ] x\n-->",
        "    - [ ] x",
        "- [x](a.md)",
        "- [ ] A <!-- name of the owner: Ann -->",
    ],
)
def test_what_is_meant_to_be_no_line_is_not_reported(text: str) -> None:
    assert Checklist.parse(f"# L\n\n{text}\n\n- [ ] z\n", "x.md").warnings == ()


def test_a_box_with_nothing_but_a_comment_has_no_text() -> None:
    with pytest.raises(ChecklistError, match="The box has no text"):
        Checklist.parse("# L\n- [ ] <!-- todo -->\n", "x.md")


def test_comments_are_read_in_either_case() -> None:
    [line] = Checklist.parse("# L\n- [ ] A <!--ITEM:redis.pods_healthy-->\n", "x.md").lines
    assert line.item == "redis.pods_healthy"


@pytest.mark.parametrize(
    ("text", "row", "told"),
    [
        ("# A\n- [N/A] c\n", 2, "'[N/A] c' is not a line"),
        ("# A\n- [50%] c\n", 2, "'[50%] c' is not a line"),
        ("# A\n- [done] c\n", 2, "'[done] c' is not a line"),
        ("# A\n- ( ) c\n", 2, "'( ) c' is not a line"),
        ("# A\na. [ ] c\n", 2, "'a. [ ] c' is not a line"),
        ("# A\n<input type=checkbox> c\n", 2, "'<input type=checkbox> c' is not a line"),
        ("# A\n```\n- [ ] c\n", 3, "'- [ ] c' is not a line"),
        ("# A\n<!-- later\n- [ ] c\n", 2, "The comment that begins here does not end"),
        (
            "# A\n<!-- item: redis.persistence_configured -->\n",
            2,
            "binds nothing: write it at the end of its line or heading",
        ),
    ],
)
def test_a_line_is_not_lost_without_a_word(text: str, row: int, told: str) -> None:
    checklist = Checklist.parse(f"# First\n- [ ] one\n{text}", "own.md")
    assert [(number, told in sentence) for number, sentence in checklist.warnings] == [(row + 2, True)]


@pytest.mark.parametrize(
    "text",
    [
        "```\n- [ ] code\n```\n",
        "~~~~\n- [ ] code\n~~~\n~~~~",
        "- > ```\n  > - [ ] code\n  > ```",
        "<!-- later\n- [ ] c\n-->\n",
        "- [done](https://a.example) is a link\n",
        "- [optional] words\n",
        "e.g. [ref] is text\n",
    ],
)
def test_what_is_no_box_is_not_reported(text: str) -> None:
    assert Checklist.parse(f"# First\n- [ ] one\n\n{text}", "own.md").warnings == ()


def test_characters_that_nobody_sees_are_no_part_of_a_line() -> None:
    assert normalized("Persis\u00adtence\u200b is configured\ufeff") == "Persistence is configured"


@pytest.mark.parametrize(
    "text",
    [
        "\u2022 [ ] bullet",
        "\u2013 [ ] dash",
        "-[ ] glued",
        "\u2610 ballot",
        "[] wiki",
        "a) [ ] letter",
        "#. [ ] number",
        "| a | b |\n|---|---|\n| [ ] | x |",
    ],
)
def test_a_row_that_would_be_swallowed_by_the_line_above_is_reported(text: str) -> None:
    checklist = Checklist.parse(f"# L\n- [ ] A\n{text}\n", "own.md")
    assert len(checklist.warnings) == 1
    assert "is not a line" in checklist.warnings[0][1]


@pytest.mark.parametrize(
    "text",
    [
        "- \\[ ] exported",
        "- \\[x\\] exported",
        "- [_] x",
        "- [+] x",
        "- [xx] x",
        "- [✔\ufe0f] x",
        "- [\u200b] x",
        "- \u200b[ ] x",
        "- [passed] x",
        "- ✅ done",
        "- :white_check_mark: done",
        "- <!-- item: redis.pods_healthy --> [ ] x",
        "<!-- c --> - [ ] x",
    ],
)
def test_what_editors_make_of_a_box_is_reported(text: str) -> None:
    checklist = Checklist.parse(f"# L\n\n{text}\n\n- [ ] A\n", "own.md")
    assert [(number, "is not a line" in sentence) for number, sentence in checklist.warnings] == [(3, True)]


@pytest.mark.parametrize(
    ("text", "said"),
    [("- [ ] [ ] A", "is not a line"), ("- [ ] A <!-- item: redis.pods_healthy", "does not end")],
)
def test_what_follows_a_box_and_does_nothing_is_reported(text: str, said: str) -> None:
    [(number, sentence)] = Checklist.parse(f"# L\n{text}\n", "own.md").warnings
    assert number == 2
    assert said in sentence
