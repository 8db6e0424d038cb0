"""Generated from proto/maestro/v1 by `make proto`: messages, stubs and servicers. Nothing here is written by hand."""
