from tests.readme import README, generated


def test_the_generated_parts_are_what_the_code_says():
    text = README.read_text()
    assert generated(text) == text, "run `make docs`"
