from tests.tools.conventions import imports_of_tests


def test_tests_import_helpers_from_support_only():
    assert list(imports_of_tests()) == []
