"""The pipeline: the stages in order, their scores, and the page that shows them."""
