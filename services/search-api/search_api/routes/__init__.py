"""The API's routes, one module for each thing they are about."""
