from dataclasses import dataclass

import click
from click.testing import CliRunner

from mobile.cli.option_groups import argument, option, takes


@dataclass(frozen=True)
class Food:
    """What is eaten."""

    dish: str = argument(metavar="DISH")
    fruit: str = option("--fruit", default="apple", help="Which.")
    as_json: bool = option("--json", is_flag=True)


@dataclass(frozen=True)
class Drink:
    """What is drunk."""

    cups: int = option("--cups", type=click.IntRange(min=1), required=True)


@click.command()
@takes(food=Food, drink=Drink)
@click.option("--seed", type=int, default=0)
def lunch(food: Food, drink: Drink, seed: int) -> None:
    click.echo(repr((food, drink, seed)))


def test_a_command_gets_each_group_filled() -> None:
    result = CliRunner().invoke(lunch, ["pie", "--cups", "2", "--json", "--seed", "7"])
    assert result.output.strip() == repr((Food("pie", "apple", True), Drink(2), 7))


def test_groups_keep_click_s_checks_and_the_order_of_their_fields() -> None:
    assert CliRunner().invoke(lunch, ["pie", "--cups", "0"]).exit_code == 2
    assert "Missing option '--cups'" in CliRunner().invoke(lunch, ["pie"]).output
    assert "Missing argument 'DISH'" in CliRunner().invoke(lunch, []).output
    shown = [parameter.name for parameter in lunch.params]
    assert shown == ["dish", "fruit", "as_json", "cups", "seed"]
