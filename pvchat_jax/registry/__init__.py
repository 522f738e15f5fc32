"""The people who can be asked about: one pack for each over one base, with consent."""
