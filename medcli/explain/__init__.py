"""Why a network answers as it does: maps of the evidence, and tests of whether the maps can be believed."""
