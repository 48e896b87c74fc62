"""Brings the function app to Azure; the script is deploy.sh."""
