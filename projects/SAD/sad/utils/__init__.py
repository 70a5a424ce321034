"""What any room may use: errors, files, arguments. Nothing of `sad` is imported here."""
