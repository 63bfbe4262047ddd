"""`lineage report`: the answer about models or a folder as one HTML file, as Markdown, or as the lines of a model card."""
