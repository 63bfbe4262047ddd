"""Pages about models and families: what they show, how a tree is drawn, and the templates.

One set of templates has two ways out: `lineage report` renders a page into a file, `lineage web` serves it.
"""
