from cbpnet.host.tables import markdown_table, mean_and_spread, plain_table

HEADER = ("method", "by", "accuracy")
ROWS = [["ncm", "sum", "7.0"], ["cbpnet", "gradient", "73.95 ± 0.65"], ["x", "", "-"]]


def test_markdown_says_which_columns_are_numbers() -> None:
    assert markdown_table(HEADER, ROWS, words=2).splitlines() == [
        "| method   | by       |     accuracy |",
        "|:---------|:---------|-------------:|",
        "| ncm      | sum      |          7.0 |",
        "| cbpnet   | gradient | 73.95 ± 0.65 |",
        "| x        |          |            - |",
    ]


def test_a_terminal_gets_columns_two_spaces_apart() -> None:
    assert plain_table(HEADER, ROWS, words=2).splitlines() == [
        "method  by            accuracy",
        "ncm     sum                7.0",
        "cbpnet  gradient  73.95 ± 0.65",
        "x                            -",
    ]


def test_numbers_are_printed_as_they_are_given() -> None:
    rows = plain_table(["name", "load"], [["a", "1.00"], ["b", "10.250"], ["c", ""]]).splitlines()
    assert rows == ["name    load", "a       1.00", "b     10.250", "c"]


def test_a_mean_has_a_spread_where_there_are_several() -> None:
    assert mean_and_spread([3.0]) == "3.00"
    assert mean_and_spread([1.0, 2.0, 4.5], "+") == "+2.50 ± 1.80"  # sqrt(6.5 / 2)
    assert mean_and_spread([-1.0, -1.0], "+") == "-1.00 ± 0.00"
