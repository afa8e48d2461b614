from tests.tools.conventions import imports_of_tests, long_names


def test_tests_import_helpers_from_support_only():
    assert list(imports_of_tests()) == []


def test_test_names_are_shorter_than_60_characters():
    assert list(long_names()) == []
