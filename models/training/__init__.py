"""The training recipe of the models; README.md lists the modules. The service imports nothing from this package."""
