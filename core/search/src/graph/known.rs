//! The edges that walks have read, kept for as long as the file is as it was.
//!
//! Invariants:
//! 1. What is kept was read, and is used, outside of any transaction that writes and of one committed state of the file: SQLite's data
//!    version tells when another one is there, whoever wrote it.
//! 2. It is kept of tables only, and of conditions that mean the same each time.

use std::ffi::{c_int, c_uint};
use std::ptr;

use rusqlite::ffi;

use super::nodes::Node;

/// The most edges that are kept for one kind of question, four bytes each.
const EDGES_MAX: usize = 2_000_000;
const UNKNOWN: u32 = u32::MAX;

/// Where the edges of a node are.
#[derive(Clone, Copy)]
struct Span {
    start: u32,
    end: u32,
}

/// See the module.
#[derive(Default)]
pub(super) struct Known {
    version: Option<c_uint>,
    /// By the number of a node.
    spans: Vec<Span>,
    /// The nodes at the other ends, in the order in which they were read.
    ends: Vec<Node>,
    /// Where those of the node begin that is being read.
    open: Option<usize>,
}

impl Known {
    /// Tells whether the file is as it was, and forgets the edges if it is not.
    pub(super) fn is_of_now(&mut self, db: *mut ffi::sqlite3) -> bool {
        let version = version(db);
        let is_same = version.is_some() && self.version == version;
        if !is_same {
            self.forget();
            self.version = version;
        }
        is_same
    }

    /// Returns the place of the first edge of a node and the one after its last, if they are known.
    #[inline]
    pub(super) fn of(&self, node: Node) -> Option<(u32, u32)> {
        self.spans.get(node as usize).filter(|span| span.start != UNKNOWN).map(|span| (span.start, span.end))
    }

    /// Returns the node at the other end of an edge.
    #[inline]
    pub(super) fn end(&self, place: u32) -> Node {
        self.ends[place as usize]
    }

    /// Begins to note the edges of a node; those of one that was not read to its end are dropped.
    pub(super) fn open(&mut self) {
        self.drop_open();
        let is_room = self.version.is_some() && self.ends.len() < EDGES_MAX;
        self.open = is_room.then_some(self.ends.len());
    }

    /// Notes an edge of the node that is being read.
    #[inline]
    pub(super) fn note(&mut self, end: Node) {
        if self.open.is_some() {
            self.ends.push(end);
        }
    }

    /// Keeps the edges of a node that was read to its end, if the file is still the one that it was when it began.
    pub(super) fn close(&mut self, node: Node, db: *mut ffi::sqlite3) {
        let Some(start) = self.open else { return };
        if self.version != version(db) {
            return self.drop_open();
        }
        self.open = None;
        let (Ok(start), Ok(end)) = (u32::try_from(start), u32::try_from(self.ends.len())) else { return };
        let at = node as usize;
        if self.spans.len() <= at {
            self.spans.resize(at + 1, Span { start: UNKNOWN, end: UNKNOWN });
        }
        self.spans[at] = Span { start, end };
    }

    /// Drops what was noted of a node that was not read to its end.
    pub(super) fn drop_open(&mut self) {
        if let Some(start) = self.open.take() {
            self.ends.truncate(start);
        }
    }

    /// Forgets everything, as where nodes get other numbers.
    pub(super) fn forget(&mut self) {
        self.spans.clear();
        self.ends.clear();
        self.open = None;
    }
}

/// Returns a number that another committed state of the file does not have; `None` while a transaction writes.
fn version(db: *mut ffi::sqlite3) -> Option<c_uint> {
    let mut version: c_uint = 0;
    // SAFETY: the connection is open while a cursor of its is used; the names are C strings, and the file control writes an unsigned int.
    unsafe {
        if ffi::sqlite3_txn_state(db, c"main".as_ptr()) == ffi::SQLITE_TXN_WRITE {
            return None;
        }
        let code: c_int = ffi::sqlite3_file_control(
            db,
            c"main".as_ptr(),
            ffi::SQLITE_FCNTL_DATA_VERSION,
            ptr::from_mut(&mut version).cast(),
        );
        (code == ffi::SQLITE_OK).then_some(version)
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    #[test]
    fn edges_are_known_until_a_commit_and_never_in_a_transaction_that_writes() {
        let conn = Connection::open_in_memory().unwrap();
        conn.execute_batch("CREATE TABLE t(a)").unwrap();
        // SAFETY: the handle is used while the connection is open.
        let db = unsafe { conn.handle() };
        let mut known = Known::default();
        let read = |known: &mut Known| {
            assert!(!known.is_of_now(db) && known.is_of_now(db));
            known.open();
            known.note(7);
            known.note(9);
            known.close(3, db);
        };
        read(&mut known);
        assert_eq!((known.of(3), known.of(2), known.of(4)), (Some((0, 2)), None, None));
        assert_eq!((known.end(0), known.end(1)), (7, 9));
        conn.execute_batch("BEGIN; INSERT INTO t VALUES(1)").unwrap();
        assert!(!known.is_of_now(db) && !known.is_of_now(db));
        known.open();
        known.note(1);
        known.close(3, db);
        assert_eq!(known.of(3), None);
        conn.execute_batch("COMMIT").unwrap();
        read(&mut known);
        conn.execute_batch("INSERT INTO t VALUES(2)").unwrap();
        assert!(!known.is_of_now(db));
        assert_eq!(known.of(3), None);
    }

    #[test]
    fn a_node_that_was_not_read_to_its_end_or_over_a_write_is_not_known() {
        let conn = Connection::open_in_memory().unwrap();
        conn.execute_batch("CREATE TABLE t(a)").unwrap();
        // SAFETY: as above.
        let db = unsafe { conn.handle() };
        let mut known = Known::default();
        known.is_of_now(db);
        known.open();
        known.note(1);
        known.open();
        known.note(2);
        known.close(5, db);
        assert_eq!((known.of(5), known.end(0)), (Some((0, 1)), 2));
        known.open();
        known.note(3);
        conn.execute_batch("INSERT INTO t VALUES(1)").unwrap();
        known.close(6, db);
        assert_eq!(known.of(6), None);
    }
}
