//! Files as memory.

use std::fs::File;
use std::io;
use std::path::Path;

use memmap2::Mmap;

/// Maps a file.
pub(super) fn map(path: &Path) -> io::Result<Mmap> {
    let file = File::open(path)?;
    // SAFETY: KithDB never writes to a file that has this name: it writes another one, which then takes the name. A program that
    // changes or cuts the file all the same does what it may do to any database in use, and can make this process fail.
    unsafe { Mmap::map(&file) }
}
