"""A source-filter synthesizer of acted speech, for corpus `synthetic`."""
