"""Messages and the progress line of the commands."""

from clearcut.cli.terminal import end_progress, print_message, print_output, show_progress


def test_results_and_messages_use_separate_streams(capsys):
    print_output("result")
    print_message("message")
    output = capsys.readouterr()
    assert (output.out, output.err) == ("result\n", "message\n")


def test_message_erases_the_whole_progress_line(capsys):
    show_progress("10/20 images")
    print_message("failed", replace_progress=True)
    show_progress("11/20 images")
    end_progress()
    output = capsys.readouterr()
    assert output.err == "\r10/20 images\x1b[K\r\x1b[Kfailed\n\r11/20 images\x1b[K\n"
    assert output.out == ""
