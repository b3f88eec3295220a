//! Who belongs to the workspace: making tickets, and joining with one.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use kithdb_core::error::JoinError as ReplicaJoinError;
use kithdb_core::replica::{OpenOptions, Replica};
use kithdb_log::{Role, Ticket};
use kithdb_peer::addresses::keep_past_address;
use kithdb_peer::{Address, JoinError, Joined, invite_at};
use serde_json::{Value, json};

use super::options::{read_addresses, read_join};
use super::{missing, number, runtime};
use crate::database::Db;
use crate::js::{Answer, Js, Val, type_error};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Makes a ticket: number, file, whether for an owner, when it expires, addresses.
pub(crate) fn invite(js: Js, arguments: &[Val]) -> Answer {
    let &[id, path, is_owner, expires_unix_ms, addresses] = arguments else { return missing() };
    let (id, path) = (number(js, id)?, PathBuf::from(js.string_of(path)?));
    let role = if js.truth(is_owner)? { Role::Owner } else { Role::Writer };
    // JavaScript gives whole milliseconds, which a double holds exactly.
    let expires_unix_ms = js.number(expires_unix_ms)?.max(0.0) as u64;
    let addresses = read_addresses(&js.string_of(addresses)?)?;
    let mailbox = Arc::clone(js.instance().office.mailbox()?);
    runtime()?.spawn_blocking(move || match make_ticket(&path, role, expires_unix_ms, &addresses) {
        Ok(ticket) => mailbox.post(id, "done", ticket.to_string().into()),
        Err(error) => mailbox.post(id, "failed", json!({ "code": "KITH_INVITE", "message": error.to_string() })),
    });
    js.undefined()
}

fn make_ticket(path: &Path, role: Role, expires_unix_ms: u64, addresses: &[Address]) -> Result<Ticket, Failure> {
    let mut replica = Replica::open(path, OpenOptions::default())?;
    let ticket = invite_at(&mut replica, role, expires_unix_ms, addresses)?;
    replica.close()?;
    Ok(ticket)
}

/// Joins a workspace: database, number, file, ticket, options.
///
/// The database is closed from here on; [`reopen`] brings it back, whatever came of it.
pub(crate) fn join(js: Js, arguments: &[Val]) -> Answer {
    let &[db, id, path, ticket, options] = arguments else { return missing() };
    let db = js.native::<Rc<Db>>(db)?;
    let (id, path) = (number(js, id)?, PathBuf::from(js.string_of(path)?));
    let ticket: Ticket =
        js.string_of(ticket)?.trim().parse().or_else(|error: kithdb_log::TicketError| type_error(error.to_string()))?;
    let options = read_join(&js.string_of(options)?)?;
    let office = &js.instance().office;
    let mailbox = Arc::clone(office.mailbox()?);
    runtime()?;
    db.leave()?;
    office.spawn(async move {
        match kithdb_peer::join(&path, &ticket, options).await {
            Ok(joined) => match settle(joined) {
                Ok(()) => mailbox.post(id, "done", Value::Null),
                Err(error) => mailbox.post(id, "failed", json!({ "code": "KITH_JOIN", "message": error.to_string() })),
            },
            Err(error) => mailbox.post(id, "failed", failure(&error)),
        }
    })?;
    js.undefined()
}

/// Notes where the owner is, so that a peer finds it without being told, and closes.
fn settle(joined: Joined) -> Result<(), Failure> {
    keep_past_address(&joined.replica, &joined.address)?;
    joined.replica.close()?;
    Ok(())
}

/// Opens a database again that joined, or could not: database, file. One that was closed meanwhile stays closed.
pub(crate) fn reopen(js: Js, arguments: &[Val]) -> Answer {
    let &[db, path] = arguments else { return missing() };
    js.native::<Rc<Db>>(db)?.come_back(&js.string_of(path)?)?;
    js.undefined()
}

fn failure(error: &JoinError) -> Value {
    let code = match error {
        JoinError::AlreadyRunning { .. } => "KITH_ALREADY_RUNNING",
        JoinError::Expired => "KITH_TICKET_EXPIRED",
        JoinError::Refused { .. } => "KITH_REFUSED",
        JoinError::NobodyAnswered { .. } => "KITH_NOBODY_ANSWERED",
        JoinError::Replica(ReplicaJoinError::TablesPresent { .. }) => "KITH_TABLES_PRESENT",
        JoinError::Network(_) => "KITH_NETWORK",
        _ => "KITH_JOIN",
    };
    json!({ "code": code, "message": error.to_string() })
}
