//! What the running transaction has changed so far, and what of it is already in `kith__pending`.
//!
//! Invariants:
//! 1. After a rollback to a savepoint the journal is what it was when the savepoint was opened, the flush mark included:
//!    the rows of a flush made inside the savepoint are undone by SQLite with it, those of an earlier flush stay.
//!    What counts as that savepoint is what SQLite's pager makes of its depth.
//! 2. A flush leaves the journal as it is; only the end of the transaction clears it.

use std::ffi::c_int;
use std::io;

use super::buffer::Buffer;

/// Where a row is that must be read again when the transaction commits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    Rowid(i64),
    /// Encoded key values.
    Key(Vec<u8>),
}

/// A row with columns whose new values the hook could not see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Note {
    pub(super) table: u32,
    pub(super) place: Place,
    /// Indexes into the stored columns, each with the encoded value it is known to have had: as the record tells it, or, in
    /// tables with rows from before sync, before the write. None at all: what was noted about this place before is in the buffer.
    pub(super) columns: Vec<(usize, Option<Vec<u8>>)>,
}

impl Note {
    fn is_of(&self, table: u32, place: &Place) -> bool {
        self.table == table && self.place == *place
    }
}

/// Joins the notes of each place, in order, up to what is already in the buffer.
pub(super) fn join_notes<'n>(notes: impl IntoIterator<Item = &'n Note>) -> Vec<Note> {
    let mut joined: Vec<Note> = Vec::new();
    for note in notes {
        match joined.iter().position(|known| known.is_of(note.table, &note.place)) {
            Some(index) if note.columns.is_empty() => drop(joined.remove(index)),
            Some(index) => {
                // The value from before the first write is the one that counts.
                let known = &mut joined[index].columns;
                let new: Vec<_> =
                    note.columns.iter().filter(|(column, _)| known.iter().all(|(old, _)| old != column)).collect();
                known.extend(new.into_iter().cloned());
            }
            None if note.columns.is_empty() => {}
            None => joined.push(note.clone()),
        }
    }
    joined
}

/// The rows of `kith__pending` that hold a prefix of the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Flushed {
    pub(super) first: i64,
    pub(super) last: i64,
    len: u64,
    notes: usize,
}

/// Why the transaction cannot be committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) code: c_int,
    pub(super) message: String,
}

#[derive(Debug, Clone, Copy, Default)]
struct Checkpoint {
    len: u64,
    changes: u64,
    tables: usize,
    notes: usize,
    failed: bool,
    flushed: Option<Flushed>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Journal {
    pub(super) buffer: Buffer,
    tables: Vec<u32>,
    notes: Vec<Note>,
    failure: Option<Failure>,
    flushed: Option<Flushed>,
    /// By depth, as SQLite's pager keeps its own.
    savepoints: Vec<Checkpoint>,
}

impl Journal {
    /// Tells whether there is nothing to write and nothing to refuse.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.buffer.len() == 0 && self.notes.is_empty() && self.failure.is_none()
    }

    /// Numbers of the tables that changed, and perhaps of some whose changes were rolled back.
    pub(super) fn tables(&self) -> &[u32] {
        &self.tables
    }

    /// Returns what is noted and not in the buffer.
    pub(super) fn open_notes(&self) -> Vec<Note> {
        join_notes(&self.notes)
    }

    #[inline]
    pub(super) fn has_notes(&self) -> bool {
        !self.notes.is_empty()
    }

    /// Returns what is noted about one place and not in the buffer.
    pub(super) fn open_note(&self, table: u32, place: &Place) -> Option<Note> {
        join_notes(self.notes.iter().filter(|note| note.is_of(table, place))).pop()
    }

    pub(super) fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }

    pub(super) fn flushed(&self) -> Option<Flushed> {
        self.flushed
    }

    /// Tells whether `kith__pending` holds all of the journal.
    pub(super) fn is_flushed(&self) -> bool {
        self.failure.is_none()
            && match self.flushed {
                Some(flushed) => flushed.len == self.buffer.len() && flushed.notes == self.notes.len(),
                None => self.buffer.len() == 0 && self.notes.is_empty(),
            }
    }

    /// Accepts the change of table `num` that began at `start` in the buffer's bytes.
    #[inline]
    pub(super) fn finish_change(&mut self, num: u32, start: usize) -> io::Result<()> {
        self.touch(num);
        self.buffer.finish_change(start)
    }

    #[inline]
    fn touch(&mut self, num: u32) {
        if self.tables.last() != Some(&num) && !self.tables.contains(&num) {
            self.tables.push(num);
        }
    }

    /// Notes a row to be read again; a note that has not been flushed yet serves for later writes too.
    pub(super) fn note(&mut self, note: Note) {
        self.touch(note.table);
        let fresh = self.flushed.map_or(0, |flushed| flushed.notes);
        let known = self.notes[fresh..].iter().rfind(|known| known.is_of(note.table, &note.place));
        let is_known =
            |known: &Note| note.columns.iter().all(|(new, _)| known.columns.iter().any(|(old, _)| old == new));
        if note.columns.is_empty() || !known.is_some_and(is_known) {
            self.notes.push(note);
        }
    }

    /// Remembers why the transaction cannot be committed; the first reason stands.
    #[cold]
    pub(super) fn fail(&mut self, failure: Failure) {
        self.failure.get_or_insert(failure);
    }

    /// Marks everything so far as held by rows `first..=last` of `kith__pending`.
    pub(super) fn mark_flushed(&mut self, first: i64, last: i64) {
        self.flushed = Some(Flushed { first, last, len: self.buffer.len(), notes: self.notes.len() });
    }

    /// Opens the savepoint of this depth, and those outside of it that are not open.
    ///
    /// One that is open stays as it is: SQLite forgets about open statements at a BEGIN, gives the next statement the depth of an
    /// older one, and undoes both if the next one fails.
    pub(super) fn open_savepoint(&mut self, depth: c_int) {
        let checkpoint = Checkpoint {
            len: self.buffer.len(),
            changes: self.buffer.changes(),
            tables: self.tables.len(),
            notes: self.notes.len(),
            failed: self.failure.is_some(),
            flushed: self.flushed,
        };
        let count = usize::try_from(depth).map_or(0, |depth| depth + 1);
        if self.savepoints.len() < count {
            self.savepoints.resize(count, checkpoint);
        }
    }

    /// Forgets the savepoint of this depth and those inside it.
    pub(super) fn release(&mut self, depth: c_int) {
        self.savepoints.truncate(usize::try_from(depth).unwrap_or(0));
    }

    /// Goes back to where the savepoint of this depth was opened; there is nothing to undo if it is not open.
    pub(super) fn roll_back_to(&mut self, depth: c_int) {
        self.release(depth.saturating_add(1));
        let checkpoint = match usize::try_from(depth) {
            // The whole transaction.
            Err(_) => Checkpoint::default(),
            Ok(depth) => match self.savepoints.get(depth) {
                Some(checkpoint) => *checkpoint,
                None => return,
            },
        };
        self.buffer.truncate(checkpoint.len, checkpoint.changes);
        self.tables.truncate(checkpoint.tables);
        self.notes.truncate(checkpoint.notes);
        if !checkpoint.failed {
            self.failure = None;
        }
        self.flushed = checkpoint.flushed;
    }

    /// Ends the transaction.
    pub(super) fn clear(&mut self) {
        self.buffer.clear();
        self.tables.clear();
        self.notes.clear();
        self.failure = None;
        self.flushed = None;
        self.savepoints.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(journal: &mut Journal, byte: u8) {
        let start = journal.buffer.bytes().len();
        journal.buffer.bytes().push(byte);
        journal.finish_change(1, start).unwrap();
    }

    fn bytes(journal: &Journal) -> Vec<u8> {
        journal.buffer.read(&(0..journal.buffer.len())).unwrap().into_owned()
    }

    #[test]
    fn rolling_back_restores_the_flush_mark_of_its_time() {
        let mut journal = Journal::default();
        change(&mut journal, 1);
        journal.open_savepoint(0);
        change(&mut journal, 2);
        journal.mark_flushed(10, 10);
        let outer = journal.flushed();
        journal.open_savepoint(1);
        change(&mut journal, 3);
        assert!(!journal.is_flushed());
        journal.mark_flushed(11, 12);
        assert!(journal.is_flushed());

        journal.roll_back_to(1);
        assert_eq!(bytes(&journal), [1, 2]);
        assert_eq!(journal.flushed(), outer);
        assert!(journal.is_flushed());

        journal.roll_back_to(0);
        assert_eq!(bytes(&journal), [1]);
        assert_eq!(journal.flushed(), None);
        assert!(!journal.is_flushed());

        journal.roll_back_to(-1);
        assert!(journal.is_empty() && journal.is_flushed());
    }

    #[test]
    fn failure_goes_with_the_savepoint_it_happened_in() {
        let mut journal = Journal::default();
        journal.open_savepoint(0);
        journal.fail(Failure { code: 1, message: "a".into() });
        journal.open_savepoint(1);
        journal.fail(Failure { code: 1, message: "b".into() });
        journal.roll_back_to(1);
        assert_eq!(journal.failure().map(|failure| failure.message.as_str()), Some("a"));
        journal.roll_back_to(0);
        assert!(journal.is_flushed());
    }

    #[test]
    fn notes_are_merged_until_they_are_flushed() {
        let mut journal = Journal::default();
        let note = Note { table: 1, place: Place::Rowid(5), columns: vec![(2, None)] };
        journal.note(note.clone());
        journal.note(note.clone());
        assert_eq!(journal.notes.len(), 1);
        journal.mark_flushed(1, 1);
        journal.note(note);
        assert_eq!(journal.notes.len(), 2);
        assert!(!journal.is_flushed());
    }

    #[test]
    fn notes_end_where_their_row_ends_and_come_back_with_a_savepoint() {
        let mut journal = Journal::default();
        let place = || Place::Rowid(5);
        let note = |columns| Note { table: 1, place: place(), columns };
        journal.note(note(vec![(2, None)]));
        journal.open_savepoint(0);
        journal.note(note(vec![]));
        assert_eq!(journal.open_note(1, &place()), None);
        journal.note(note(vec![(2, None)]));
        assert_eq!(journal.open_notes(), [note(vec![(2, None)])]);
        journal.roll_back_to(0);
        assert_eq!(journal.open_note(1, &place()), Some(note(vec![(2, None)])));
        assert_eq!(journal.open_note(2, &place()), None);
    }
}
