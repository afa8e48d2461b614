from tests.readme import CARD, CARD_PARTS, README, generated


def test_the_generated_parts_are_what_the_code_says():
    text = README.read_text()
    assert generated(text) == text, "run `make docs`"


def test_the_model_card_s_figures_are_those_measured():
    text = CARD.read_text()
    assert generated(text, CARD_PARTS) == text, "run `make docs`"
