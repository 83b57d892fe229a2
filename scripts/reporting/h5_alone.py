"""HDF5 files of others, read alone, as the program reads them (io/h5.cpp): a file may say that what it has lies in other
files, and would bring whatever its reader can read into a page that is shown around."""

import h5py

OWN_LINKS = (h5py.h5l.TYPE_HARD, h5py.h5l.TYPE_SOFT)


class NotAlone(Exception):
    """Says which part of a file lies in another one."""


def part_elsewhere(file):
    """The name of a part that lies in another file, or None."""
    link = file.id.links.visit(lambda name, link: None if link.type in OWN_LINKS else name, info=True)
    if link is not None:
        return link.decode(errors="replace")
    return file.visititems(lambda name, item: name if isinstance(item, h5py.Dataset) and (item.is_virtual or item.external) else None)


def open_alone(path):
    """The file, to be read from. NotAlone where anything of it lies in another one, asked for or not."""
    file = h5py.File(path, "r")
    try:
        name = part_elsewhere(file)
        if name is not None:
            raise NotAlone(f"{name} has its numbers in another file, which is not read; make the file anew, with all of it inside")
    except BaseException:
        file.close()
        raise
    return file
