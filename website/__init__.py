"""What the documentation site is made with beside docs/: pages written from the code, and hooks of MkDocs."""
