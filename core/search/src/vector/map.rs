//! Files as memory.

use std::fs::File;
use std::io;
use std::path::Path;

use memmap2::Mmap;

/// Maps a file.
pub(super) fn map(path: &Path) -> io::Result<Mmap> {
    map_open(&File::open(path)?)
}

/// Maps a file that is open: a saved index, or one without a name.
pub(super) fn map_open(file: &File) -> io::Result<Mmap> {
    // SAFETY: KithDB never writes to such a file once it is whole: it writes another one, which then takes the name. A program that
    // changes or cuts the file all the same does what it may do to any database in use, and can make this process fail.
    unsafe { Mmap::map(file) }
}
