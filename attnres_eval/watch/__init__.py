"""What a study is doing, read from the files that it writes. Reads only; torch-free."""
