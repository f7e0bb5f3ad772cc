"""Raw data -> prepared/ -> batches.

In the order of their imports:

    series        series of unequal lengths, end to end
    split         which examples are held out: stratified, whole groups, the latest
    manifest      what a prepared folder says of itself
    clean         cut, fill and resample a series, by the policies of the configuration
    readers/      the user's own files -> series
    sources/      images by name
    inspection/   a file that nobody has described yet -> what is what in it
    store         a part in memory, on the device or mapped
    prepared      prepared/ as it lies on the disk: opened, keyed, verified
    preparation/  raw examples -> prepared/
    augment       random distortion of training images and series
    batches       this process's batches, in an order given by (seed, epoch)
"""
