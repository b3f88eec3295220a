//! Tells one life of a file from the next: a copied or restored file is a second author and must not reuse numbers.
//!
//! The incarnation is kept in the file and in a sidecar, `FILE-kith-life`, with the highest published count and the file's inode.
//!
//! Invariants:
//! 1. Two files that both accept writes never share an incarnation, as long as one of them is opened after the copy was made.
//! 2. The sidecar's count never falls within an incarnation.
//!
//! Sidecar (512 bytes, rewritten in place): `"kithlife" | version u8 | incarnation 16 | published u64 | device u64 | inode u64 |
//! path length u16 | path, cut at 400 bytes | zeros | checksum 16`, integers little-endian.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use kithdb_log::{AuthorId, IncarnationId, ReplicaId};
use rusqlite::{Connection, params};

use crate::error::OpenError;
use crate::file::beside;
use crate::sources::Entropy;
use crate::storage::{get_meta, put_meta};

const MAGIC: &[u8; 8] = b"kithlife";
const VERSION: u8 = 1;
const RECORD_LEN: usize = 512;
const CHECKSUM_AT: usize = RECORD_LEN - 16;
const PATH_AT: usize = 51;
const PATH_BYTES_MAX: usize = 400;

/// Names the sidecar of a database file.
pub fn sidecar_path(path: &Path) -> PathBuf {
    beside(path, "-kith-life")
}

/// Who this file is at the moment.
#[derive(Debug)]
pub struct Life {
    incarnation: IncarnationId,
    replica: ReplicaId,
    author_num: u32,
    reason: Option<String>,
    sidecar: Option<Sidecar>,
}

impl Life {
    /// Returns the present incarnation.
    pub const fn incarnation(&self) -> IncarnationId {
        self.incarnation
    }

    /// Returns the id under which peers remember this replica's arrival numbers.
    pub const fn replica(&self) -> ReplicaId {
        self.replica
    }

    /// Returns the local number of (own author, present incarnation).
    pub const fn author_num(&self) -> u32 {
        self.author_num
    }

    /// Says why the present incarnation was begun, if it is not the file's first.
    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// Writes a first incarnation into a new replica.
    pub(crate) fn begin(conn: &Connection, author: AuthorId, entropy: &Entropy) -> Result<Self, OpenError> {
        Self::write_new(conn, author, entropy, None)
    }

    fn write_new(
        conn: &Connection,
        author: AuthorId,
        entropy: &Entropy,
        reason: Option<String>,
    ) -> Result<Self, OpenError> {
        let incarnation = IncarnationId::from_bytes(entropy.array()?);
        let replica = ReplicaId::from_bytes(entropy.array()?);
        conn.prepare_cached("INSERT INTO kith__authors(author, incarnation) VALUES(?1, ?2)")?
            .execute(params![author.as_bytes(), incarnation.as_bytes()])?;
        let author_num = u32::try_from(conn.last_insert_rowid())
            .map_err(|_| OpenError::Damaged { detail: "there are too many authors".to_owned() })?;
        put_meta(conn, "incarnation", incarnation.as_bytes())?;
        put_meta(conn, "replica", replica.as_bytes())?;
        put_meta(conn, "life_reason", &reason)?;
        Ok(Self { incarnation, replica, author_num, reason, sidecar: None })
    }

    /// Reads the present incarnation from the file.
    pub(crate) fn load(conn: &Connection, author: AuthorId) -> Result<Self, OpenError> {
        let missing = |what: &str| OpenError::Damaged { detail: format!("{what} is missing") };
        let incarnation = get_meta::<[u8; 16]>(conn, "incarnation")?.ok_or_else(|| missing("the incarnation"))?;
        let replica = get_meta::<[u8; 16]>(conn, "replica")?.ok_or_else(|| missing("the replica's id"))?;
        let author_num = conn
            .prepare_cached("SELECT num FROM kith__authors WHERE author = ?1 AND incarnation = ?2")?
            .query_row(params![author.as_bytes(), incarnation], |row| row.get(0))
            .map_err(|_| missing("the device's own author number"))?;
        Ok(Self {
            incarnation: IncarnationId::from_bytes(incarnation),
            replica: ReplicaId::from_bytes(replica),
            author_num,
            reason: get_meta::<Option<String>>(conn, "life_reason")?.flatten(),
            sidecar: None,
        })
    }

    /// Reads the incarnation again after another process may have begun one.
    pub(crate) fn reload(&mut self, conn: &Connection, author: AuthorId) -> Result<(), OpenError> {
        let sidecar = self.sidecar.take();
        *self = Self { sidecar, ..Self::load(conn, author)? };
        Ok(())
    }

    /// Begins a new incarnation, in one savepoint; the sidecar follows when that is durable.
    pub(crate) fn start_incarnation(
        &mut self,
        conn: &Connection,
        author: AuthorId,
        entropy: &Entropy,
        reason: &str,
    ) -> Result<(), OpenError> {
        let next = kithdb_search::sql::in_savepoint(conn, || {
            crate::define::renew_workspace_version(conn)?;
            Self::write_new(conn, author, entropy, Some(reason.to_owned()))
        })?;
        let sidecar = self.sidecar.take();
        *self = Self { sidecar, ..next };
        tracing::info!(incarnation = %self.incarnation.short(), reason, "began a new incarnation");
        Ok(())
    }

    /// Compares the file with its sidecar; returns why a new incarnation is due.
    pub(crate) fn check_sidecar(&self, conn: &Connection, path: &Path) -> Result<Option<String>, OpenError> {
        let sidecar = sidecar_path(path);
        let failed = |source| OpenError::Life { path: sidecar.clone(), source };
        let record = match std::fs::read(&sidecar) {
            Ok(bytes) => Record::decode(&bytes),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Some(format!(
                    "{} was not beside the database, as when a file is copied or restored without it",
                    sidecar.display()
                )));
            }
            Err(error) => return Err(failed(error)),
        };
        let Some(record) = record else {
            return Ok(Some(format!("{} was damaged", sidecar.display())));
        };
        if record.incarnation != self.incarnation {
            return Ok(Some(
                "the database was replaced by another copy of it, as when a backup is restored".to_owned(),
            ));
        }
        let stored = published_by_file(conn, self.author_num)?;
        if stored < record.published {
            return Ok(Some(format!(
                "the database was replaced by an older copy of it: it holds {stored} of the {} entries this device published",
                record.published
            )));
        }
        let here = Place::of(path).map_err(failed)?;
        let moved = here.path != record.place.path;
        if here.inode != record.place.inode || (here.device != record.place.device && moved) {
            return Ok(Some(if moved {
                format!("the database was copied from {}", String::from_utf8_lossy(&record.place.path))
            } else {
                "the database was replaced by a copy of it".to_owned()
            }));
        }
        Ok(None)
    }

    /// Binds this life to a file: writes the sidecar durably and keeps it open.
    pub(crate) fn bind(&mut self, conn: &Connection, path: &Path) -> Result<(), OpenError> {
        let sidecar = sidecar_path(path);
        let failed = |source| OpenError::Life { path: sidecar.clone(), source };
        let published = published_by_file(conn, self.author_num)?;
        let place = Place::of(path).map_err(failed)?;
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&sidecar).map_err(failed)?;
        let record = Record { incarnation: self.incarnation, published, place };
        write_record(&mut file, &record).and_then(|()| file.sync_all()).map_err(failed)?;
        self.sidecar = Some(Sidecar { path: sidecar, file, record });
        Ok(())
    }

    /// Notes that entries up to `count`, the total of this incarnation's, are about to leave the process.
    pub fn published(&mut self, count: u64) -> std::io::Result<()> {
        let Some(sidecar) = &mut self.sidecar else { return Ok(()) };
        // Another process may have published more since, or begun another incarnation.
        sidecar.file.seek(SeekFrom::Start(0))?;
        let mut bytes = Vec::with_capacity(RECORD_LEN);
        (&mut sidecar.file).take(RECORD_LEN as u64).read_to_end(&mut bytes)?;
        let there = Record::decode(&bytes).filter(|record| record.incarnation == self.incarnation);
        let published = there.map_or(0, |record| record.published);
        if sidecar.record.incarnation == self.incarnation && published >= count {
            return Ok(());
        }
        sidecar.record.incarnation = self.incarnation;
        sidecar.record.published = count;
        write_record(&mut sidecar.file, &sidecar.record)
    }

    /// Names the sidecar, if there is one.
    pub fn sidecar(&self) -> Option<&Path> {
        self.sidecar.as_ref().map(|sidecar| sidecar.path.as_path())
    }
}

/// Counts the entries of an own incarnation that the file holds.
pub(crate) fn published_by_file(conn: &Connection, author_num: u32) -> rusqlite::Result<u64> {
    conn.prepare_cached("SELECT ifnull(sum(height), 0) FROM kith__streams WHERE author = ?1")?
        .query_row([author_num], |row| row.get::<_, i64>(0))
        .map(i64::unsigned_abs)
}

#[derive(Debug)]
struct Sidecar {
    path: PathBuf,
    file: File,
    record: Record,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    device: u64,
    inode: u64,
    path: Vec<u8>,
}

impl Place {
    fn of(path: &Path) -> std::io::Result<Self> {
        let metadata = std::fs::metadata(path)?;
        let path = path.canonicalize()?;
        let mut bytes = path.as_os_str().as_encoded_bytes().to_vec();
        bytes.truncate(PATH_BYTES_MAX);
        let (device, inode) = identity(&metadata);
        Ok(Self { device, inode, path: bytes })
    }
}

#[cfg(unix)]
fn identity(metadata: &std::fs::Metadata) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt;
    (metadata.dev(), metadata.ino())
}

/// Elsewhere the time of creation stands in for the inode.
#[cfg(not(unix))]
fn identity(metadata: &std::fs::Metadata) -> (u64, u64) {
    let created = metadata.created().ok().and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
    (0, created.map_or(0, |age| age.as_nanos() as u64))
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Record {
    incarnation: IncarnationId,
    published: u64,
    place: Place,
}

fn checksum(bytes: &[u8]) -> [u8; 16] {
    let hash = blake3::derive_key("kithdb 2026 life sidecar checksum v1", bytes);
    let mut out = [0; 16];
    out.copy_from_slice(&hash[..16]);
    out
}

fn write_record(file: &mut File, record: &Record) -> std::io::Result<()> {
    file.seek(SeekFrom::Start(0))?;
    file.write_all(&record.encode())
}

impl Record {
    fn encode(&self) -> [u8; RECORD_LEN] {
        let mut out = [0; RECORD_LEN];
        out[..8].copy_from_slice(MAGIC);
        out[8] = VERSION;
        out[9..25].copy_from_slice(self.incarnation.as_bytes());
        out[25..33].copy_from_slice(&self.published.to_le_bytes());
        out[33..41].copy_from_slice(&self.place.device.to_le_bytes());
        out[41..49].copy_from_slice(&self.place.inode.to_le_bytes());
        let path = &self.place.path;
        // Cut at PATH_BYTES_MAX when the place was made.
        out[49..51].copy_from_slice(&(path.len() as u16).to_le_bytes());
        out[PATH_AT..PATH_AT + path.len()].copy_from_slice(path);
        let sum = checksum(&out[..CHECKSUM_AT]);
        out[CHECKSUM_AT..].copy_from_slice(&sum);
        out
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; RECORD_LEN] = bytes.try_into().ok()?;
        if &bytes[..8] != MAGIC || bytes[8] != VERSION || bytes[CHECKSUM_AT..] != checksum(&bytes[..CHECKSUM_AT]) {
            return None;
        }
        let number = |at: usize| {
            let mut out = [0; 8];
            out.copy_from_slice(&bytes[at..at + 8]);
            u64::from_le_bytes(out)
        };
        let path_len = usize::from(u16::from_le_bytes([bytes[49], bytes[50]]));
        let path = bytes.get(PATH_AT..PATH_AT + path_len.min(PATH_BYTES_MAX))?.to_vec();
        Some(Self {
            incarnation: IncarnationId::from_slice(&bytes[9..25])?,
            published: number(25),
            place: Place { device: number(33), inode: number(41), path },
        })
    }
}
