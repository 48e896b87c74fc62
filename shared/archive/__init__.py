"""The stored file: client, download, gunzip, and the CSV that comes out."""
