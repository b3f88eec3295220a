//! Short local numbers for (author, incarnation) pairs, so that a stamp in row metadata takes ten bytes instead of fifty-six.

use std::collections::HashMap;

use kithdb_log::{AuthorId, DecodeError, Hlc, IncarnationId, Reader, Stamp};
use rusqlite::Connection;

/// The number that stands for [`Stamp::EXISTING`].
const EXISTING: u32 = 0;

/// The authors a replica has met, both ways.
///
/// Lives as long as one transaction: numbers handed out in a transaction that rolls back are handed out again.
#[derive(Debug, Default)]
pub(crate) struct Authors {
    by_num: HashMap<u32, (AuthorId, IncarnationId)>,
    by_id: HashMap<(AuthorId, IncarnationId), u32>,
    last: Option<(u32, AuthorId, IncarnationId)>,
}

impl Authors {
    /// Reads all known authors.
    pub(crate) fn load(conn: &Connection) -> rusqlite::Result<Self> {
        let mut authors = Self::default();
        let mut statement = conn.prepare_cached("SELECT num, author, incarnation FROM kith__authors")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let author = AuthorId::from_bytes(row.get(1)?);
            authors.remember(row.get(0)?, author, IncarnationId::from_bytes(row.get(2)?));
        }
        Ok(authors)
    }

    fn remember(&mut self, num: u32, author: AuthorId, incarnation: IncarnationId) {
        self.by_num.insert(num, (author, incarnation));
        self.by_id.insert((author, incarnation), num);
    }

    /// Returns the number of an author's incarnation and makes one up if it has none.
    pub(crate) fn num_of(
        &mut self,
        conn: &Connection,
        author: AuthorId,
        incarnation: IncarnationId,
    ) -> rusqlite::Result<u32> {
        if let Some((num, last_author, last_incarnation)) = self.last
            && last_author == author
            && last_incarnation == incarnation
        {
            return Ok(num);
        }
        let num = match self.by_id.get(&(author, incarnation)) {
            Some(&num) => num,
            None => {
                conn.prepare_cached("INSERT INTO kith__authors(author, incarnation) VALUES(?1, ?2)")?
                    .execute(rusqlite::params![author.as_bytes(), incarnation.as_bytes()])?;
                let num = u32::try_from(conn.last_insert_rowid())
                    .map_err(|_| rusqlite::Error::IntegralValueOutOfRange(0, conn.last_insert_rowid()))?;
                self.remember(num, author, incarnation);
                num
            }
        };
        self.last = Some((num, author, incarnation));
        Ok(num)
    }

    /// Returns the pair behind a number.
    pub(crate) fn get(&self, num: u32) -> Option<(AuthorId, IncarnationId)> {
        self.by_num.get(&num).copied()
    }

    /// Appends a stamp: the author's number, then the clock in eight bytes; nothing but a zero for existing rows.
    pub(crate) fn put_stamp(&mut self, conn: &Connection, stamp: &Stamp, out: &mut Vec<u8>) -> rusqlite::Result<()> {
        if *stamp == Stamp::EXISTING {
            out.push(EXISTING as u8);
            return Ok(());
        }
        let num = self.num_of(conn, stamp.author, stamp.incarnation)?;
        kithdb_log::codec::put_varint(out, u64::from(num));
        out.extend_from_slice(&stamp.clock.as_u64().to_le_bytes());
        Ok(())
    }

    /// Reads a stamp.
    pub(crate) fn read_stamp(&self, reader: &mut Reader<'_>) -> Result<Stamp, DecodeError> {
        let num = reader.varint("author number")?;
        if num == u64::from(EXISTING) {
            return Ok(Stamp::EXISTING);
        }
        let known = u32::try_from(num).ok().and_then(|num| self.get(num));
        let (author, incarnation) = known.ok_or(DecodeError::Unknown { what: "author number", value: num })?;
        let clock = Hlc::from_u64(u64::from_le_bytes(reader.array("clock")?));
        Ok(Stamp { clock, author, incarnation })
    }
}
