//! The `kith` command.

// Nothing calls the import before the demo command is there.
#[allow(dead_code)]
mod demo;

fn main() {}
