"""The page of an executed notebook holds what it printed, and nothing of the process that ran it."""

from nbformat.v4 import new_code_cell, new_notebook, new_output

from headstart.steps.figures import without_traces


def test_printed_lines_are_one_piece_wherever_the_kernel_cut_them_and_warnings_are_left_out() -> (
    None
):
    def page(*outputs: tuple[str, str]) -> object:
        streams = [new_output("stream", name=name, text=text) for name, text in outputs]
        kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
        return without_traces(new_notebook(cells=[new_code_cell(outputs=streams)], metadata=kernel))

    whole = page(("stdout", "one\ntwo\n"))
    assert page(("stdout", "one\n"), ("stderr", "1234.py: a warning"), ("stdout", "two\n")) == whole
    assert whole.cells[0].outputs[0].text == "one\ntwo\n"
