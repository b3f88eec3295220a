//! The file beside a database that an index is saved in, so that it need not be made anew.
//!
//! Invariants:
//! 1. A file is written whole under another name and then takes its own: what is found is whole, whenever the process was killed.
//! 2. A file is used only if the changes go on from the place that it was saved at; otherwise the table is read.

use std::ffi::OsString;
use std::fs::{DirEntry, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kithdb_log::Reader;
use kithdb_log::codec::{put_bytes, put_varint};
use kithdb_vector::hnsw::Graph;
use kithdb_vector::index::EmbeddingIndex;
use kithdb_vector::rows::ForeignBytes;
use kithdb_vector::snapshot::{
    Depth, Identity, Keys, Saved, decode, decode_own_store, decode_without_graph, encode, read_header,
};
use kithdb_vector::store::EmbeddingStore;
use kithdb_vector::tiered::TieredIndex;
use kithdb_vector::tuning::Tuned;
use rusqlite::{Connection, OpenFlags};

use super::changes::{Mark, table_name};
use super::declaration::Declaration;
use super::keys::{Key, KeyMap};
use super::map::{map, map_open};
use super::memory::Bound;
use super::rows::{Refused, Rows};
use super::shared::State;
use super::turn::{self, Turn};
use super::vouched::Vouched;
use crate::sql::quote;

/// Rows from which an index is saved: fewer are read from the table in less time than it takes to notice. Tests have
/// fewer, so that they save all the same.
const SAVED_FROM: usize = if cfg!(test) { 500 } else { 10_000 };
/// Nobody writes a file for so long.
const LEFTOVER: Duration = Duration::from_secs(60 * 60);
/// Bytes of a note at most.
const NOTE_BYTES_MAX: usize = 64 << 20;

/// Rows that are read again at the next open rather than saved when the file is closed.
const READ_AGAIN_MAX: usize = 1_000;
/// Rows brought into a graph when the file is closed, which waits for it.
const CATCH_UP_MAX: usize = 500;
/// Changes that are kept, though an index was saved after them, before they are deleted.
const KEPT_CHANGES: i64 = 10_000;

/// Where an index is saved, and what of.
pub(super) struct Place {
    pub(super) path: PathBuf,
    pub(super) database: PathBuf,
    /// Of the `kith_vector` table.
    pub(super) name: String,
    pub(super) declaration: Declaration,
}

impl Place {
    /// Says whether so much is not saved that it should be.
    pub(super) fn is_due(state: &State) -> bool {
        let len = state.rows.index().len();
        len >= SAVED_FROM && state.unsaved > len / 10
    }

    /// Saves an index; returns the file if that was done.
    pub(super) fn save(&self, image: &Image, turn: Option<&Turn>) -> Option<File> {
        write(self, image, turn)
            .inspect_err(
                |error| tracing::warn!(%error, path = %self.path.display(), "the index of embeddings cannot be saved"),
            )
            .ok()
    }

    /// Returns what is saved, if it is this table's and could be read, with the changes since, in less time than all rows.
    pub(super) fn saved(&self, state: &State) -> Option<Found> {
        let since = |found: &Found| state.applied.sequence - found.mark.sequence;
        let len = i64::try_from(state.rows.index().len()).unwrap_or(i64::MAX);
        find(&self.path, &self.declaration, state.rows.has_integer_keys())
            .filter(|found| (0..=len / 2).contains(&since(found)))
    }

    /// Says whether there is a saved index of this table with a graph.
    pub(super) fn has_saved_graph(&self) -> bool {
        [true, false]
            .into_iter()
            .any(|is_rowid| find(&self.path, &self.declaration, is_rowid).is_some_and(|found| found.has_graph))
    }

    /// Saves an index that nobody uses any more, if that is worth it, and deletes changes that it has made superfluous.
    pub(super) fn close(&self, state: &mut State, may_write: bool) {
        let is_saved = state.rows.index().len() >= SAVED_FROM;
        if is_saved && state.unsaved > READ_AGAIN_MAX {
            state.rows.index_mut().catch_up(CATCH_UP_MAX);
            let image = Image::of(state);
            // A graph takes far longer to build than changes take to be read again.
            let is_worse = image.graph.is_none()
                && state.rows.has_room_for_graph()
                && self.saved(state).is_some_and(|found| found.has_graph);
            // Another process that has the turn saves as well, and takes what it finds half written for left behind.
            if let Some(turn) = Turn::take(&self.path).filter(|_| !is_worse) {
                self.save(&image, Some(&turn));
            }
        }
        // Of a table whose index is not saved, no change is ever read again.
        let superfluous = match is_saved {
            true => find(&self.path, &self.declaration, state.rows.has_integer_keys()).map(|found| found.mark),
            false => Some(state.applied),
        };
        if let Some(saved) = superfluous.filter(|mark| may_write && mark.sequence > KEPT_CHANGES)
            && let Err(error) = self.prune(saved)
        {
            tracing::debug!(%error, "old changes of a kith_vector table were not deleted");
        }
    }

    /// Deletes the changes before a place that was saved. No connection of this process waits for it; another process may be writing,
    /// and then it is left for another time.
    fn prune(&self, saved: Mark) -> rusqlite::Result<()> {
        let table = format!("main.{}", quote(&table_name(&self.name)));
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags(&self.database, flags)?;
        conn.busy_timeout(Duration::ZERO)?;
        let sql = format!(
            "SELECT EXISTS(SELECT 1 FROM {table} WHERE sequence = ?1 AND token = ?2) AND EXISTS(SELECT 1 FROM {table} WHERE sequence < ?1 - ?3)"
        );
        if conn.query_row(&sql, [saved.sequence, saved.token, KEPT_CHANGES], |row| row.get(0))? {
            conn.execute(&format!("DELETE FROM {table} WHERE sequence < ?1"), [saved.sequence])?;
        }
        Ok(())
    }
}

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

/// What is saved of an index: taken while nobody changes it, so that it can be written while somebody does.
pub(super) struct Image {
    pub(super) mark: Mark,
    is_rowid: bool,
    keys: Keys,
    store: EmbeddingStore,
    graph: Option<Arc<Graph>>,
    notes: Vec<u8>,
}

impl Image {
    /// Takes it: the embeddings and the graph are shared, all else is copied.
    pub(super) fn of(state: &State) -> Self {
        let index = state.rows.index();
        Self {
            mark: state.applied,
            is_rowid: state.rows.has_integer_keys(),
            keys: state.rows.saved_keys(),
            store: index.store().clone(),
            graph: index.shared_graph().filter(|_| index.pending() == 0),
            notes: encode_notes(state.rows.refused(), state.tuned, state.vouched.schema()),
        }
    }
}

impl Image {
    /// Has rows use the file that the image was saved to, so far as they have not changed since, in the place of memory and of other files.
    pub(super) fn move_to(&self, rows: &mut Rows, file: &File) {
        let saved = map_open(file).map_err(|error| error.to_string()).and_then(|map| {
            let bytes: ForeignBytes = Arc::new(map);
            decode_own_store(&bytes).map_err(|error| error.to_string())
        });
        match saved {
            Ok(saved) => rows.index_mut().take_unchanged(&self.store, &saved),
            // They stay where they are.
            Err(error) => tracing::warn!(error, "the saved index of embeddings cannot be mapped"),
        }
    }
}

fn write(place: &Place, image: &Image, turn: Option<&Turn>) -> io::Result<File> {
    let folder = place.path.parent().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
    let graph = image.graph.as_deref().map(Graph::to_sections);
    let saved = Saved {
        identity: identity(&place.declaration, image.is_rowid, image.mark),
        options: &place.declaration.options,
        sequence: image.mark.sequence.cast_unsigned(),
        keys: &image.keys,
        store: &image.store,
        graph: graph.as_ref(),
        notes: &image.notes,
    };
    let name = place.path.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
    let mut prefix = name.to_owned();
    prefix.push("-");
    remove_leftovers(folder, &prefix, turn.is_some_and(Turn::is_sole));
    let mut file = tempfile::Builder::new().prefix(&prefix).tempfile_in(folder)?;
    // Who may read the rows may read what was made from them, and nobody else.
    file.as_file().set_permissions(std::fs::metadata(&place.database)?.permissions())?;
    let mut writer = BufWriter::with_capacity(1 << 20, file.as_file_mut());
    encode(&saved, &mut writer)?;
    writer.flush()?;
    drop(writer);
    file.as_file().sync_all()?;
    let file = file.persist(&place.path).map_err(|error| error.error)?;
    // The name itself: a folder cannot be opened everywhere, and a lost name loses no row.
    if let Ok(folder) = File::open(folder) {
        folder.sync_all()?;
    }
    Ok(file)
}

/// Removes what processes left half written that were killed; what is not old only where nobody else can be writing.
fn remove_leftovers(folder: &Path, prefix: &OsString, is_sole: bool) {
    let is_old = |entry: &DirEntry| {
        let age = entry.metadata().and_then(|metadata| metadata.modified()).map(|written| written.elapsed());
        let is_lock = entry.file_name().as_encoded_bytes().ends_with(turn::SUFFIX.as_bytes());
        !is_lock && (is_sole || matches!(age, Ok(Ok(age)) if age > LEFTOVER))
    };
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    for file in
        files.filter(|file| file.file_name().as_encoded_bytes().starts_with(prefix.as_encoded_bytes()) && is_old(file))
    {
        // Somebody else may have been faster.
        let _ = std::fs::remove_file(file.path());
    }
}

/// A file that was found, and the place that it was saved at.
pub(super) struct Found {
    bytes: ForeignBytes,
    pub(super) mark: Mark,
    pub(super) has_graph: bool,
    len: usize,
    rows: usize,
}

/// Looks for the file of a table; what is not its own, or is damaged in its head, is as good as none.
pub(super) fn find(path: &Path, declaration: &Declaration, is_rowid: bool) -> Option<Found> {
    let bytes: ForeignBytes = Arc::new(map(path).ok()?);
    let header = read_header((*bytes).as_ref()).ok()?;
    let (sequence, token) = header.identity.database.split_first_chunk::<8>()?;
    let token = token.first_chunk::<8>()?;
    let mark = Mark { sequence: i64::from_le_bytes(*sequence), token: i64::from_le_bytes(*token) };
    let is_ours = header.identity == identity(declaration, is_rowid, mark) && header.options == declaration.options;
    is_ours.then_some(Found { bytes, mark, has_graph: header.has_graph, len: header.len, rows: header.rows })
}

impl Found {
    /// Reads the index, without its graph where memory is bounded and that does not fit; `None` if the file is damaged.
    pub(super) fn read(&self, declaration: &Declaration, bound: Option<Bound>) -> Option<State> {
        let keys = KeyMap::memory_bytes_of(self.len);
        let graph = Graph::memory_bytes_of(&declaration.options, self.rows);
        let has_room = bound.as_ref().is_none_or(|bound| bound.has_room_for(keys, graph));
        let decode = if has_room { decode } else { decode_without_graph };
        let snapshot = decode(&self.bytes, Depth::ButFloats)
            .inspect_err(|error| tracing::warn!(%error, "the saved index of embeddings cannot be used"))
            .ok()?;
        let (refused, tuned, vouched) = decode_notes(&snapshot.notes)?;
        let slots: Vec<_> = snapshot.store.occupied().iter().collect();
        let keys = KeyMap::of_saved(slots, snapshot.keys);
        let options = declaration.options.clone();
        let index = match snapshot.graph {
            Some(graph) => TieredIndex::with_graph(options, snapshot.store, graph),
            None => TieredIndex::with_store(options, snapshot.store),
        };
        let mut index = index.ok()?;
        if !has_room {
            index.forget_graph();
        }
        let mut state = State::of_saved(Rows::of_saved(index, keys, refused, bound), self.mark, tuned);
        state.vouched = Vouched::by(vouched);
        Some(state)
    }
}

/// Encodes what is saved beside the index: how it was tuned, the rows that were left out, and the schema that vouches for the others.
fn encode_notes(refused: &Refused, tuned: Option<Tuned>, vouched: Option<i64>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let tuned = tuned.unwrap_or(Tuned { ef: 0, recall: 0.0, len: 0 });
    for number in [tuned.ef as u64, tuned.recall.to_bits(), tuned.len as u64, refused.len() as u64] {
        put_varint(&mut bytes, number);
    }
    for (key, reason) in refused {
        put_bytes(&mut bytes, &key.to_saved());
        put_bytes(&mut bytes, reason.as_deref().unwrap_or_default().as_bytes());
    }
    if let Some(version) = vouched {
        put_varint(&mut bytes, version.cast_unsigned());
    }
    bytes
}

fn decode_notes(bytes: &[u8]) -> Option<(Refused, Option<Tuned>, Option<i64>)> {
    let mut reader = Reader::new(bytes);
    let mut number = |what| reader.varint(what).ok();
    let tuned = Tuned {
        ef: usize::try_from(number("ef")?).ok()?,
        recall: f64::from_bits(number("recall")?),
        len: usize::try_from(number("length")?).ok()?,
    };
    let count = number("left-out rows")?;
    let mut refused = Refused::new();
    for _ in 0..count {
        let key = Key::of_saved(reader.bytes(NOTE_BYTES_MAX, "key").ok()?)?;
        let reason = String::from_utf8(reader.bytes(NOTE_BYTES_MAX, "reason").ok()?.to_vec()).ok()?;
        refused.insert(key, Some(reason).filter(|reason| !reason.is_empty()));
    }
    // At the end, where nothing is without it.
    let vouched = reader.varint("schema").ok().map(u64::cast_signed);
    Some((refused, (tuned.ef > 0).then_some(tuned), vouched))
}
