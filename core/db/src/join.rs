//! Joining a workspace: a file waits, with its own device's keys, until an owner admits the device.
//!
//! Invariants:
//! 1. What a peer shows is believed only if it contains all that the ticket names: workspace, frontier, epoch.
//! 2. A file that waits survives a crash and goes on with the same keys.

use std::fmt;
use std::path::{Path, PathBuf};

use kithdb_log::admin::check_device_name;
use kithdb_log::ids::WrappedSecrets;
use kithdb_log::{Added, AdminBody, AdminOperation, DeviceKeys, JoinRequest, Membership, Ticket, unwrap_secrets};
use rusqlite::Connection;

use crate::definition::user_tables;
use crate::error::{FileError, InitError, JoinError, OpenError};
use crate::file::{self, FileKind};
use crate::life::Life;
use crate::replica::{OpenOptions, Replica, create_file, create_tables, load_keys, new_keys};
use crate::storage::{get_meta, put_meta};
use crate::workspace::{insert_admin, put_workspace};
use kithdb_search::sql::in_savepoint;
use kithdb_search::sql::quote;

/// How a workspace is joined.
#[derive(Debug, Clone)]
pub struct JoinOptions {
    /// The name by which people know this device, 1 to 64 bytes.
    pub device_name: String,
    /// Whether rows that are in the file already merge with the workspace's rows of equal key.
    pub merge_by_key: bool,
    /// How the file is opened.
    pub open: OpenOptions,
}

impl JoinOptions {
    /// Joins under a device name, with defaults for the rest.
    pub fn new(device_name: impl Into<String>) -> Self {
        Self { device_name: device_name.into(), merge_by_key: false, open: OpenOptions::default() }
    }
}

/// A file that waits to be admitted.
pub struct PendingJoin {
    conn: Connection,
    path: Option<PathBuf>,
    keys: DeviceKeys,
    ticket: Ticket,
    device_name: String,
    options: OpenOptions,
}

impl fmt::Debug for PendingJoin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingJoin")
            .field("path", &self.path)
            .field("workspace", &self.ticket.workspace)
            .finish_non_exhaustive()
    }
}

/// A join that is not complete yet, and why; the file goes on waiting.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct IncompleteJoin {
    /// The join, to be tried again; `None` if the device was admitted and only opening the replica failed.
    pub pending: Option<Box<PendingJoin>>,
    /// What was missing or wrong.
    pub error: JoinError,
}

impl Replica {
    /// Makes a file wait for admission to the ticket's workspace, or goes on with one that waits.
    pub fn prepare_join(
        path: impl AsRef<Path>,
        ticket: &Ticket,
        options: JoinOptions,
    ) -> Result<PendingJoin, JoinError> {
        check_device_name(&options.device_name).map_err(|_| InitError::DeviceName)?;
        let look = file::look(path.as_ref(), options.open.busy_timeout).map_err(OpenError::from)?;
        if look.kind == FileKind::Joining {
            let mut pending = Self::resume_join(&look.path, options.open)?;
            if pending.ticket.secret.key() != ticket.secret.key() {
                // The earlier ticket led nowhere, or the user would not come with another.
                put_meta(&pending.conn, "joining", ticket.to_string()).map_err(OpenError::from)?;
                pending.ticket = ticket.clone();
            }
            return Ok(pending);
        }
        if look.kind == FileKind::Plain && !options.merge_by_key {
            let tables = tables_with_rows(&look.path, &options.open)?;
            if !tables.is_empty() {
                return Err(JoinError::TablesPresent { path: look.path, tables });
            }
        }
        let keys = new_keys(&options.open.entropy).map_err(OpenError::from)?;
        let (path, conn) = create_file(&look.path, &keys, &options.open, |conn| {
            put_joining(conn, &keys, ticket, &options)?;
            Ok(())
        })?;
        Ok(PendingJoin {
            conn,
            path: Some(path),
            keys,
            ticket: ticket.clone(),
            device_name: options.device_name,
            options: options.open,
        })
    }

    /// Makes a database in memory that waits for admission.
    pub fn prepare_join_memory(ticket: &Ticket, options: JoinOptions) -> Result<PendingJoin, JoinError> {
        check_device_name(&options.device_name).map_err(|_| InitError::DeviceName)?;
        let keys = new_keys(&options.open.entropy).map_err(OpenError::from)?;
        let conn = Connection::open_in_memory().map_err(OpenError::from)?;
        create_tables(&conn, || {
            put_joining(&conn, &keys, ticket, &options)?;
            Ok(())
        })?;
        let (device_name, options) = (options.device_name, options.open);
        Ok(PendingJoin { conn, path: None, keys, ticket: ticket.clone(), device_name, options })
    }

    /// Goes on with a file that waits for admission.
    pub fn resume_join(path: impl AsRef<Path>, options: OpenOptions) -> Result<PendingJoin, JoinError> {
        let look = file::look(path.as_ref(), options.busy_timeout).map_err(OpenError::from)?;
        let path = look.path;
        match look.kind {
            FileKind::Joining => {}
            FileKind::Missing => return Err(OpenError::from(FileError::Missing { path }).into()),
            FileKind::Plain => return Err(OpenError::NotInitialised { path }.into()),
            FileKind::Replica(workspace) => return Err(InitError::AlreadyInitialised { path, workspace }.into()),
        }
        if look.read_only {
            return Err(OpenError::from(FileError::ReadOnly { path }).into());
        }
        let open = || -> Result<(Connection, DeviceKeys, String, String), OpenError> {
            let conn = Connection::open(&path)?;
            conn.busy_timeout(options.busy_timeout)?;
            conn.execute_batch("PRAGMA synchronous = FULL")?;
            let keys = load_keys(&conn, &path)?;
            let ticket = get_meta::<String>(&conn, "joining")?.unwrap_or_default();
            let device_name = get_meta::<String>(&conn, "device_name")?.unwrap_or_default();
            Ok((conn, keys, ticket, device_name))
        };
        let (conn, keys, ticket, device_name) = open()?;
        let ticket = ticket
            .parse()
            .map_err(|error: kithdb_log::TicketError| OpenError::Damaged { detail: error.to_string() })?;
        Ok(PendingJoin { conn, path: Some(path), keys, ticket, device_name, options })
    }
}

fn put_joining(conn: &Connection, keys: &DeviceKeys, ticket: &Ticket, options: &JoinOptions) -> rusqlite::Result<()> {
    // The ticket's secret is good for this one device once the request is made; it is deleted on admission.
    put_meta(conn, "joining", ticket.to_string())?;
    put_meta(conn, "author", keys.author().as_bytes())?;
    put_meta(conn, "device_name", &options.device_name)?;
    put_meta(conn, "merge_by_key", options.merge_by_key)
}

fn tables_with_rows(path: &Path, options: &OpenOptions) -> Result<Vec<String>, OpenError> {
    let conn = file::open_to_read(path, options.busy_timeout).map_err(|error| file::sqlite_error(path, error))?;
    let mut out = Vec::new();
    for (table, kind) in user_tables(&conn)? {
        let has_rows = format!("SELECT EXISTS(SELECT 1 FROM main.{})", quote(&table));
        if kind == "table" && conn.query_row(&has_rows, [], |row| row.get(0))? {
            out.push(table);
        }
    }
    Ok(out)
}

impl PendingJoin {
    /// Returns the ticket.
    pub const fn ticket(&self) -> &Ticket {
        &self.ticket
    }

    /// Borrows the new device's keys.
    pub const fn keys(&self) -> &DeviceKeys {
        &self.keys
    }

    /// Returns the new device's name.
    pub fn device_name(&self) -> &str {
        &self.device_name
    }

    /// Returns the file's path; `None` for a database in memory.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Builds what is asked of an owner.
    pub fn request(&self) -> Result<JoinRequest, JoinError> {
        self.ticket
            .secret
            .request(self.ticket.workspace, &self.keys, &self.device_name)
            .map_err(|_| InitError::DeviceName.into())
    }

    /// Checks the workspace's admin operations against the ticket and turns the file into a replica.
    pub fn complete(self, operations: &[AdminOperation]) -> Result<Replica, IncompleteJoin> {
        let admitted = self.verify(operations).and_then(|(membership, wrapped)| self.store(&membership, &wrapped));
        if let Err(error) = admitted {
            return Err(IncompleteJoin { pending: Some(Box::new(self)), error });
        }
        let opened = Replica::assemble(self.conn, self.path, false, self.keys, self.options).and_then(|mut replica| {
            replica.bind_life()?;
            Ok(replica)
        });
        opened.map_err(|error| IncompleteJoin { pending: None, error: error.into() })
    }

    fn verify(&self, operations: &[AdminOperation]) -> Result<(Membership, WrappedSecrets), JoinError> {
        let (mut waiting, genesis): (Vec<_>, Vec<_>) =
            operations.iter().partition(|operation| !matches!(operation.body, AdminBody::Genesis { .. }));
        let genesis = genesis.into_iter().find(|operation| operation.workspace_id() == self.ticket.workspace);
        let genesis = genesis.ok_or(JoinError::OtherWorkspace)?;
        let invalid = |error: kithdb_log::AdminError| JoinError::BadMembership { detail: error.to_string() };
        let mut membership = Membership::from_genesis(self.ticket.workspace, genesis.clone()).map_err(invalid)?;
        loop {
            let before = waiting.len();
            let mut still_waiting = Vec::new();
            for operation in waiting {
                if let Added::MissingParents(_) = membership.add(operation.clone()).map_err(invalid)? {
                    still_waiting.push(operation);
                }
            }
            waiting = still_waiting;
            if waiting.is_empty() {
                break;
            }
            if waiting.len() == before {
                return Err(JoinError::StaleMembership);
            }
        }
        if !self.ticket.frontier.iter().all(|hash| membership.contains(hash)) {
            return Err(JoinError::StaleMembership);
        }
        if membership.epoch() != self.ticket.epoch {
            return Err(JoinError::OtherSecrets);
        }
        let invite = membership.find_invite(&self.ticket.secret.key()).map(|(hash, _)| hash);
        let Some(member) = membership.get(self.keys.author()) else {
            let taken = membership.operations().any(
                |operation| matches!(operation.body, AdminBody::Admit { invite: used, .. } if Some(used) == invite),
            );
            return Err(if taken { JoinError::TicketUsed } else { JoinError::NotAdmitted });
        };
        if member.role != self.ticket.role {
            return Err(JoinError::OtherRole);
        }
        let wrapped = match membership.operation(&member.admitted).map(|operation| &operation.body) {
            Some(AdminBody::Admit { wrapped, .. }) => *wrapped,
            _ => return Err(JoinError::NotAdmitted),
        };
        unwrap_secrets(&wrapped, &self.keys, self.ticket.workspace, self.ticket.epoch)
            .map_err(|_| JoinError::OtherSecrets)?;
        Ok((membership, wrapped))
    }

    fn store(&self, membership: &Membership, wrapped: &WrappedSecrets) -> Result<(), JoinError> {
        let conn = &self.conn;
        let stored = in_savepoint(conn, || {
            insert_admin(conn, membership.operations())?;
            put_workspace(conn, self.ticket.workspace, wrapped, self.keys.author(), &self.device_name)?;
            Life::begin(conn, self.keys.author(), &self.options.entropy)?;
            conn.execute("DELETE FROM kith__meta WHERE name = 'joining'", [])?;
            Ok::<_, OpenError>(())
        });
        Ok(stored?)
    }
}
