"""The report: one HTML file that shows a run or a published table, and loads nothing from anywhere.

`study` reads, `payload` packs numbers, `page` writes the file; what happens in a browser is in the
folder `browser`. Nothing is trained and nothing new is computed here that a browser could not.
"""
