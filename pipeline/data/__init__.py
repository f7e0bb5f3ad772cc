"""Raw data -> prepared/ -> batches; the modules in order stand in ``pipeline``'s docstring."""
