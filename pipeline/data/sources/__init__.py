"""Images by name.

In the order of their imports:

    progress      how far the work is, on a terminal
    download      torchvision's download, from every mirror, with checksums
    checksums     SHA-256 of files, computed anew only for what may have changed
    raw           raw examples, and where they come from
    idx           the strict reader of idx files
    image_folder  images in a folder a class
    mnist_family  torchvision's MNIST family
    catalog       a name -> raw examples
"""
