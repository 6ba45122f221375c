"""The program beside the notebooks: runs, studies, audits and reports."""
