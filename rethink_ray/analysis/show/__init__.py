"""Findings as terminal text, Markdown, HTML, figures and JSON."""
