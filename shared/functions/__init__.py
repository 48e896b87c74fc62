"""What the folders of the functions share. The only package that knows azure.functions."""
