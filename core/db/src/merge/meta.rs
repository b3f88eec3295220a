//! The packed metadata of one shown row: which life it is in, when it was born, and when each cell was written.
//!
//! Layout: `flags u8 | birth stamp | [generation varint] | [origin 8] | [n, n x (cell, stamp)] | [n, n x (cell, origin 8)]`.
//! A cell that is not listed was written by the birth. A row without metadata was there before sync.

use kithdb_log::codec::put_varint;
use kithdb_log::{DecodeError, Generation, Origin, Reader, Stamp};
use rusqlite::Connection;

use super::authors::Authors;

const GENERATION: u8 = 1;
const ORIGIN: u8 = 2;
const CELLS: u8 = 4;
const REFERENCES: u8 = 8;

/// The metadata of a shown row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RowMeta {
    /// The life the row is in.
    pub(crate) generation: Generation,
    /// Which row under its key it is.
    pub(crate) origin: Origin,
    /// The least stamp of an insert.
    pub(crate) birth: Stamp,
    /// Cells written by another write than the birth, in ascending order.
    pub(crate) cells: Vec<(u16, Stamp)>,
    /// Cells that refer to an auto-numbered row, with that row's origin.
    pub(crate) references: Vec<(u16, Origin)>,
}

impl RowMeta {
    /// The metadata of a row born in its first life by one write.
    pub(crate) const fn born(birth: Stamp, origin: Origin) -> Self {
        Self { generation: Generation::FIRST, origin, birth, cells: Vec::new(), references: Vec::new() }
    }

    /// Returns the stamp of a cell.
    pub(crate) fn stamp_of(&self, cell: u16) -> Stamp {
        match self.cells.binary_search_by_key(&cell, |(cell, _)| *cell) {
            Ok(index) => self.cells[index].1,
            Err(_) => self.birth,
        }
    }

    /// Sets the stamp of a cell.
    pub(crate) fn set_stamp(&mut self, cell: u16, stamp: Stamp) {
        match self.cells.binary_search_by_key(&cell, |(cell, _)| *cell) {
            Ok(index) if stamp == self.birth => {
                self.cells.remove(index);
            }
            Ok(index) => self.cells[index].1 = stamp,
            Err(_) if stamp == self.birth => {}
            Err(index) => self.cells.insert(index, (cell, stamp)),
        }
    }

    /// Sets an earlier birth and keeps every cell's stamp as it was.
    pub(crate) fn set_birth(&mut self, birth: Stamp, cell_count: u16) {
        let stamps: Vec<Stamp> = (0..cell_count).map(|cell| self.stamp_of(cell)).collect();
        self.birth = birth;
        self.cells.clear();
        for (cell, stamp) in stamps.into_iter().enumerate() {
            if stamp != birth {
                self.cells.push((cell as u16, stamp));
            }
        }
    }

    /// Sets or clears the origin that a cell refers to.
    pub(crate) fn set_reference(&mut self, cell: u16, origin: Option<Origin>) {
        let found = self.references.binary_search_by_key(&cell, |(cell, _)| *cell);
        match (found, origin) {
            (Ok(index), Some(origin)) => self.references[index].1 = origin,
            (Ok(index), None) => {
                self.references.remove(index);
            }
            (Err(index), Some(origin)) => self.references.insert(index, (cell, origin)),
            (Err(_), None) => {}
        }
    }

    /// Returns the origin that a cell refers to.
    pub(crate) fn reference_of(&self, cell: u16) -> Option<Origin> {
        self.references.iter().find(|(known, _)| *known == cell).map(|(_, origin)| *origin)
    }

    /// Tells whether a row with this metadata needs none: it is as it was before sync.
    pub(crate) fn is_existing(&self) -> bool {
        self.birth == Stamp::EXISTING
            && self.cells.is_empty()
            && self.references.is_empty()
            && self.generation == Generation::FIRST
    }

    /// Appends the packed form.
    pub(crate) fn encode(&self, conn: &Connection, authors: &mut Authors, out: &mut Vec<u8>) -> rusqlite::Result<()> {
        let mut flags = 0;
        if self.generation != Generation::FIRST {
            flags |= GENERATION;
        }
        if self.origin != Origin::NATURAL {
            flags |= ORIGIN;
        }
        if !self.cells.is_empty() {
            flags |= CELLS;
        }
        if !self.references.is_empty() {
            flags |= REFERENCES;
        }
        out.push(flags);
        authors.put_stamp(conn, &self.birth, out)?;
        if flags & GENERATION != 0 {
            put_varint(out, self.generation.get());
        }
        if flags & ORIGIN != 0 {
            out.extend_from_slice(&self.origin.get().to_le_bytes());
        }
        if flags & CELLS != 0 {
            put_varint(out, self.cells.len() as u64);
            for (cell, stamp) in &self.cells {
                put_varint(out, u64::from(*cell));
                authors.put_stamp(conn, stamp, out)?;
            }
        }
        if flags & REFERENCES != 0 {
            put_varint(out, self.references.len() as u64);
            for (cell, origin) in &self.references {
                put_varint(out, u64::from(*cell));
                out.extend_from_slice(&origin.get().to_le_bytes());
            }
        }
        Ok(())
    }

    /// Reads the packed form.
    pub(crate) fn decode(bytes: &[u8], authors: &Authors) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let flags = reader.byte("row metadata")?;
        let birth = authors.read_stamp(&mut reader)?;
        let mut meta = Self::born(birth, Origin::NATURAL);
        if flags & GENERATION != 0 {
            meta.generation = Generation::new(reader.varint("generation")?);
        }
        if flags & ORIGIN != 0 {
            meta.origin = Origin::new(u64::from_le_bytes(reader.array("origin")?));
        }
        if flags & CELLS != 0 {
            for _ in 0..reader.count(kithdb_log::limits::COLUMNS_MAX, "number of cells")? {
                let cell = reader.count(kithdb_log::limits::COLUMNS_MAX, "cell")? as u16;
                meta.cells.push((cell, authors.read_stamp(&mut reader)?));
            }
        }
        if flags & REFERENCES != 0 {
            for _ in 0..reader.count(kithdb_log::limits::COLUMNS_MAX, "number of references")? {
                let cell = reader.count(kithdb_log::limits::COLUMNS_MAX, "cell")? as u16;
                meta.references.push((cell, Origin::new(u64::from_le_bytes(reader.array("origin")?))));
            }
        }
        reader.finish("row metadata")?;
        Ok(meta)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kithdb_log::{AuthorId, Hlc, IncarnationId};
    use proptest::prelude::*;

    fn stamps() -> impl Strategy<Value = Stamp> {
        prop_oneof![
            Just(Stamp::EXISTING),
            (1u64.., 0u8..4).prop_map(|(clock, author)| Stamp {
                clock: Hlc::from_u64(clock),
                author: AuthorId::from_bytes([author; 32]),
                incarnation: IncarnationId::from_bytes([author / 2; 16]),
            }),
        ]
    }

    proptest! {
        #[test]
        fn metadata_comes_back(birth in stamps(), generation in 0u64..3, origin: u64, writes in proptest::collection::vec((0u16..8, stamps()), 0..8), reference in proptest::option::of(any::<u64>()), earlier in stamps()) {
            let conn = Connection::open_in_memory().unwrap();
            conn.execute_batch(crate::storage::CREATE).unwrap();
            let mut authors = Authors::default();
            let mut meta = RowMeta { generation: Generation::new(generation * 2 + 1), ..RowMeta::born(birth, Origin::new(origin)) };
            let mut naive = [birth; 8];
            for (cell, stamp) in writes {
                meta.set_stamp(cell, stamp);
                naive[usize::from(cell)] = stamp;
            }
            meta.set_reference(3, reference.map(Origin::new));
            meta.set_birth(earlier, 8);
            for (cell, stamp) in naive.into_iter().enumerate() {
                prop_assert_eq!(meta.stamp_of(cell as u16), stamp);
            }
            let mut bytes = Vec::new();
            meta.encode(&conn, &mut authors, &mut bytes).unwrap();
            prop_assert_eq!(RowMeta::decode(&bytes, &Authors::load(&conn).unwrap()), Ok(meta));
        }
    }
}
