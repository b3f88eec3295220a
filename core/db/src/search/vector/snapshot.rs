//! The file beside a database that an index is saved in, so that it need not be made anew.
//!
//! Invariants:
//! 1. A file is written whole under another name and then takes its own: what is found is whole, whenever the process was killed.
//! 2. A file is used only if the changes go on from the place that it was saved at; otherwise the table is read.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kithdb_log::Reader;
use kithdb_log::codec::{put_bytes, put_varint};
use kithdb_vector::rows::ForeignBytes;
use kithdb_vector::snapshot::{Depth, Identity, Saved, decode, encode, read_header};
use kithdb_vector::tiered::TieredIndex;

use super::changes::Mark;
use super::declaration::Declaration;
use super::keys::{Key, KeyMap};
use super::map::map;
use super::rows::{Refused, Rows};

/// Rows from which an index is saved: fewer are read from the table in less time than it takes to notice.
pub(super) const SAVED_FROM: usize = 10_000;
/// Bytes of a note at most.
const NOTE_BYTES_MAX: usize = 64 << 20;

/// Names the file.
pub(super) fn path(database: &Path, table: &str) -> PathBuf {
    let hash = blake3::hash(table.to_ascii_lowercase().as_bytes()).to_hex();
    let mut path = OsString::from(database);
    path.push(format!("-kith-vector-{}", &hash.as_str()[..16]));
    path.into()
}

fn identity(declaration: &Declaration, is_rowid: bool, mark: Mark) -> Identity {
    let mut database = [0; 16];
    database[..8].copy_from_slice(&mark.sequence.to_le_bytes());
    database[8..].copy_from_slice(&mark.token.to_le_bytes());
    let mut column = Vec::new();
    for name in [&declaration.content, &declaration.column] {
        put_bytes(&mut column, name.to_ascii_lowercase().as_bytes());
    }
    column.push(u8::from(is_rowid));
    Identity { database, column: *blake3::hash(&column).as_bytes() }
}

/// Saves an index as it is at a place in the changes.
pub(super) fn write(
    path: &Path,
    database: &Path,
    declaration: &Declaration,
    rows: &Rows,
    mark: Mark,
) -> io::Result<()> {
    let folder = path.parent().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
    let index = rows.index();
    let keys = rows.saved_keys();
    let saved = Saved {
        identity: identity(declaration, rows.has_integer_keys(), mark),
        options: &declaration.options,
        sequence: mark.sequence.cast_unsigned(),
        keys: &keys,
        store: index.store(),
        graph: index.graph().filter(|_| index.pending() == 0),
        notes: &encode_refused(rows.refused()),
    };
    let mut file = tempfile::Builder::new().prefix(".kith-vector-").tempfile_in(folder)?;
    // Who may read the rows may read what was made from them, and nobody else.
    file.as_file().set_permissions(std::fs::metadata(database)?.permissions())?;
    let mut writer = BufWriter::with_capacity(1 << 20, file.as_file_mut());
    encode(&saved, &mut writer)?;
    writer.flush()?;
    drop(writer);
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    // The name itself: a folder cannot be opened everywhere, and a lost name loses no row.
    if let Ok(folder) = File::open(folder) {
        folder.sync_all()?;
    }
    Ok(())
}

/// A file that was found, and the place that it was saved at.
pub(super) struct Found {
    bytes: ForeignBytes,
    pub(super) mark: Mark,
}

/// Looks for the file of a table; what is not its own, or is damaged in its head, is as good as none.
pub(super) fn find(path: &Path, declaration: &Declaration, is_rowid: bool) -> Option<Found> {
    let bytes: ForeignBytes = Arc::new(map(path).ok()?);
    let header = read_header((*bytes).as_ref()).ok()?;
    let (sequence, token) = header.identity.database.split_first_chunk::<8>()?;
    let token = token.first_chunk::<8>()?;
    let mark = Mark { sequence: i64::from_le_bytes(*sequence), token: i64::from_le_bytes(*token) };
    let is_ours = header.identity == identity(declaration, is_rowid, mark) && header.options == declaration.options;
    is_ours.then_some(Found { bytes, mark })
}

impl Found {
    /// Reads the index; `None` if the file is damaged.
    pub(super) fn read(&self, declaration: &Declaration) -> Option<Rows> {
        let snapshot = decode(&self.bytes, Depth::ButFloats)
            .inspect_err(|error| tracing::warn!(%error, "the saved index of embeddings cannot be used"))
            .ok()?;
        let refused = decode_refused(&snapshot.notes)?;
        let slots: Vec<_> = snapshot.store.occupied().iter().collect();
        let keys = KeyMap::of_saved(slots, snapshot.keys);
        let options = declaration.options.clone();
        let index = match snapshot.graph {
            Some(graph) => TieredIndex::with_graph(options, snapshot.store, graph),
            None => TieredIndex::with_store(options, snapshot.store),
        };
        Some(Rows::of_saved(index.ok()?, keys, refused))
    }
}

fn encode_refused(refused: &Refused) -> Vec<u8> {
    let mut bytes = Vec::new();
    put_varint(&mut bytes, refused.len() as u64);
    for (key, reason) in refused {
        put_bytes(&mut bytes, &key.to_saved());
        put_bytes(&mut bytes, reason.as_deref().unwrap_or_default().as_bytes());
    }
    bytes
}

fn decode_refused(bytes: &[u8]) -> Option<Refused> {
    let mut reader = Reader::new(bytes);
    let mut refused = Refused::new();
    for _ in 0..reader.varint("refused rows").ok()? {
        let key = Key::of_saved(reader.bytes(NOTE_BYTES_MAX, "key").ok()?)?;
        let reason = String::from_utf8(reader.bytes(NOTE_BYTES_MAX, "reason").ok()?.to_vec()).ok()?;
        refused.insert(key, Some(reason).filter(|reason| !reason.is_empty()));
    }
    Some(refused)
}
