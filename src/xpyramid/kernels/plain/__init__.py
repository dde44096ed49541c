"""The kernels once more, in NumPy: the same bits, for work that is too small to compile for.

Each module is the twin of the one of the same name: its functions take what the kernels take, of
which they leave the buffers alone, and fill ``out`` with the same bits. So what a kernel does in
some order, such as to add floats, is done in that order here, for all windows at once.
"""
