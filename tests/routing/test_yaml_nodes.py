import pytest

from routing.durations import format_duration, parse_duration
from routing.yaml_nodes import read, show


def problems(source):
    return [str(problem) for problem in read(source).problems]


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("", "the file is empty"),
        ("\ufeff \n", "the file is empty"),
        ("# nothing\n", "the file is empty: it holds nothing but comments"),
        (b"a: 1\nb: \xff\n", "the file is not UTF-8 text (line 2)"),
        ("a:\n\tb: 1", "cannot be read as YAML: a tab cannot indent; use spaces (line 2)"),
        ("a: 1\n---\nb: 2\n", "the file holds several YAML documents; one is allowed (line 2)"),
        ("a: @x", "cannot be read as YAML: '@' cannot begin a value; put the text in quotes (line 1)"),
        ("a: 1\nb: \x00", "cannot be read as YAML: control characters are not allowed (line 2)"),
        ("a: *b", "cannot be read as YAML: found undefined alias (line 1)"),
        ("a: &a [*a]", "nested deeper than 40 levels (line 1)"),
        ("a: &a {<<: *a}", "nested deeper than 40 levels (line 1)"),
        ("[" * 10_000, "nested deeper than 40 levels (line 1)"),
        (
            "a: !!python/name:os.system x",
            "the tag tag:yaml.org,2002:python/name:os.system is not supported (line 1)",
        ),
        ("x: 1\na: !secret y", "the tag !secret is not supported (line 2)"),
        ("a: 1\nb:\n  c: 1\n  c: 2\n", "b.c: stands twice, first on line 3 (line 4)"),
        ("? [x]\n: 1\n", "a key must be a plain name (line 1)"),
        ("a: {<<: 3}", 'a["<<"]: must name a mapping (line 1)'),
    ],
)
def test_read_names_the_fault_of_a_text(source, problem):
    assert problems(source) == [problem]


def test_read_refuses_aliases_that_multiply_without_end():
    """A "billion laughs": ten lines that stand for 9 ** 10 values."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]

    assert [problem.split(" (")[0] for problem in problems("\n".join(lines))] == [
        "aliases multiply this file beyond any use"
    ]


def test_read_keeps_scalars_as_they_were_written():
    tree = read('a: off\nb: 010\nc: 30:00\nd: "3"\ne: ~\nf: 2024-01-01\nno: 1_000\n')

    assert tree.value == {
        "a": "off", "b": "010", "c": "30:00", "d": "3", "e": None, "f": "2024-01-01", "no": "1_000"
    }  # fmt: skip
    assert [tree.value["b"].plain, tree.value["d"].plain] == [True, False]


def test_read_merges_mappings_and_lets_explicit_keys_win():
    tree = read(
        "base: &base {x: 1, y: 2}\nother: &other {y: 3, z: 4}\nhere:\n  x: 5\n  <<: [*base, *other]\n"
    )

    assert tree.value["here"] == {"x": "5", "y": "2", "z": "4"}
    assert tree.line_of(("here", "x")) == 4


def test_read_remembers_the_line_of_every_path():
    tree = read("a:\n  - b: 1\n\n    c: 2\n  - d\n")

    assert tree.lines == {(): 1, ("a",): 1, ("a", 0): 2, ("a", 0, "b"): 2, ("a", 0, "c"): 4, ("a", 1): 5}
    assert tree.line_of(("a", 0, "missing", "deeper")) == 2


def test_show_quotes_names_that_are_not_plain_words():
    assert show(("routing", "model_pools", "gpt-4.1", "candidates", 0)) == (
        'routing.model_pools["gpt-4.1"].candidates[0]'
    )


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30m", 1800),
        ("1h30m", 5400),
        ("90s", 90),
        ("45", 45),
        ("1.5h", 5400),
        ("250ms", 0.25),
        ("2d", 172800),
    ],
)
def test_parse_duration_reads_what_people_write(text, seconds):
    assert parse_duration(text) == seconds
    assert parse_duration(format_duration(seconds)) == seconds


@pytest.mark.parametrize(
    "text", ["", "30:00", "010", "1_000", "-5s", "5 minutes", "m", "1e3", "٣s", "inf", "nan"]
)
def test_parse_duration_refuses_anything_else(text):
    with pytest.raises(ValueError, match="must be a duration such as 30m"):
        parse_duration(text)
