//! What a replica knows of its workspace: who belongs to it, this device's keys, and the secrets that open its entries.
//!
//! Invariants:
//! 1. The secrets lie in the file only wrapped to the device's own key, which is in the key file beside it.
//! 2. An admin operation is in memory exactly if it is in `kith__admin`.

use kithdb_log::ids::WrappedSecrets;
use kithdb_log::{
    Added, AdminError, AdminHash, AdminOperation, AuthorId, BlindingSecret, DeviceKeys, EpochSecret, InviteSecret,
    JoinRequest, Membership, Role, Ticket, WorkspaceId, unwrap_secrets, wrap_secrets,
};
use rusqlite::{Connection, params};

use crate::define::renew_workspace_version;
use crate::error::{MembershipError, OpenError};
use crate::replica::Replica;
use crate::sources::Entropy;
use crate::storage::{get_meta, put_meta};

/// A replica's workspace.
#[derive(Debug)]
pub struct Workspace {
    pub(crate) id: WorkspaceId,
    pub(crate) keys: DeviceKeys,
    pub(crate) membership: Membership,
    pub(crate) epoch: EpochSecret,
    pub(crate) blinding: BlindingSecret,
    pub(crate) device_name: String,
}

impl Workspace {
    /// Returns the workspace's id.
    pub const fn id(&self) -> WorkspaceId {
        self.id
    }

    /// Returns this device's id.
    pub fn author(&self) -> AuthorId {
        self.keys.author()
    }

    /// Borrows this device's keys.
    pub const fn keys(&self) -> &DeviceKeys {
        &self.keys
    }

    /// Returns who belongs to the workspace.
    pub const fn membership(&self) -> &Membership {
        &self.membership
    }

    /// Returns this device's name.
    pub fn device_name(&self) -> &str {
        &self.device_name
    }

    /// Returns this device's role; `None` if its admission fell to a concurrent one.
    pub fn role(&self) -> Option<Role> {
        self.membership.get(self.keys.author()).map(|member| member.role)
    }

    /// Names a device for people: by its name where it is known, otherwise by the start of its id.
    pub fn name_of(&self, author: AuthorId) -> String {
        self.membership.get(author).map_or_else(|| author.short(), |member| member.name.clone())
    }

    /// Reads the workspace of a replica.
    pub(crate) fn load(conn: &Connection, keys: DeviceKeys) -> Result<Self, OpenError> {
        let damaged = |detail: String| OpenError::Damaged { detail };
        let id =
            get_meta::<[u8; 32]>(conn, "workspace")?.ok_or_else(|| damaged("the workspace is missing".to_owned()))?;
        let id = WorkspaceId::from_bytes(id);
        let membership = load_membership(conn, id)?;
        let wrapped = get_meta::<Vec<u8>>(conn, "secrets")?
            .and_then(|bytes| WrappedSecrets::from_slice(&bytes))
            .ok_or_else(|| damaged("the workspace's secrets are missing".to_owned()))?;
        let (epoch, blinding) =
            unwrap_secrets(&wrapped, &keys, id, membership.epoch()).map_err(|error| damaged(error.to_string()))?;
        let device_name = get_meta::<String>(conn, "device_name")?.unwrap_or_default();
        Ok(Self { id, keys, membership, epoch, blinding, device_name })
    }

    /// Reads admin operations that another process stored since.
    pub(crate) fn reload(&mut self, conn: &Connection) -> Result<(), OpenError> {
        let stored: i64 = conn.query_row("SELECT count(*) FROM kith__admin", [], |row| row.get(0))?;
        if usize::try_from(stored) != Ok(self.membership.operations().count()) {
            self.membership = load_membership(conn, self.id)?;
        }
        Ok(())
    }
}

pub(crate) fn load_membership(conn: &Connection, workspace: WorkspaceId) -> Result<Membership, OpenError> {
    let damaged = |detail: String| OpenError::Damaged { detail };
    let mut statement = conn.prepare_cached("SELECT operation FROM kith__admin ORDER BY n")?;
    let mut rows = statement.query([])?;
    let mut membership: Option<Membership> = None;
    while let Some(row) = rows.next()? {
        let operation = AdminOperation::decode(row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?)
            .map_err(|error| damaged(error.to_string()))?;
        match &mut membership {
            None => {
                let first = Membership::from_genesis(workspace, operation);
                membership = Some(first.map_err(|error| damaged(error.to_string()))?);
            }
            Some(membership) => match membership.add(operation) {
                Ok(Added::Added | Added::AlreadyKnown) => {}
                Ok(Added::MissingParents(_)) => return Err(damaged("an admin operation is missing".to_owned())),
                Err(error) => return Err(damaged(error.to_string())),
            },
        }
    }
    membership.ok_or_else(|| damaged("the workspace's first operation is missing".to_owned()))
}

/// Appends admin operations to the file.
pub(crate) fn insert_admin<'o>(
    conn: &Connection,
    operations: impl IntoIterator<Item = &'o AdminOperation>,
) -> rusqlite::Result<()> {
    let mut statement = conn.prepare_cached("INSERT OR IGNORE INTO kith__admin(hash, operation) VALUES(?1, ?2)")?;
    for operation in operations {
        statement.execute(params![operation.hash().as_bytes(), operation.encode()])?;
    }
    Ok(())
}

/// Founds a workspace in a file that has KithDB's tables.
pub(crate) fn found(
    conn: &Connection,
    keys: &DeviceKeys,
    device_name: &str,
    now_unix_ms: u64,
    entropy: &Entropy,
) -> Result<(), OpenError> {
    let refused = |error: &dyn std::fmt::Display| OpenError::Damaged { detail: error.to_string() };
    let epoch = EpochSecret::from_bytes(entropy.array()?);
    let blinding = BlindingSecret::from_bytes(entropy.array()?);
    let genesis = AdminOperation::genesis(keys, epoch.id(), entropy.array()?, device_name, now_unix_ms)
        .map_err(|error| refused(&error))?;
    let id = genesis.workspace_id();
    let wrapped = wrap_secrets(&epoch, &blinding, id, keys.author(), &keys.exchange_key(), entropy.array()?)
        .map_err(|error| refused(&error))?;
    insert_admin(conn, [&genesis])?;
    put_workspace(conn, id, &wrapped, keys.author(), device_name)?;
    Ok(())
}

/// Writes which workspace and device a file belongs to.
pub(crate) fn put_workspace(
    conn: &Connection,
    id: WorkspaceId,
    wrapped: &WrappedSecrets,
    author: AuthorId,
    device_name: &str,
) -> rusqlite::Result<()> {
    put_meta(conn, "workspace", id.as_bytes())?;
    put_meta(conn, "secrets", wrapped.as_bytes().as_slice())?;
    put_meta(conn, "author", author.as_bytes())?;
    put_meta(conn, "device_name", device_name)
}

/// What became of admin operations from a peer.
#[derive(Debug, Default)]
pub struct AdminReport {
    /// How many were new and are stored.
    pub added: usize,
    /// How many were known.
    pub known: usize,
    /// Parents that must come first.
    pub missing: Vec<AdminHash>,
    /// Operations that do not hold, and why.
    pub refused: Vec<(AdminHash, AdminError)>,
}

impl Replica {
    /// Returns who belongs to the workspace.
    pub const fn membership(&self) -> &Membership {
        &self.workspace.membership
    }

    /// Makes a ticket for one device; only owners may.
    pub fn invite(
        &mut self,
        role: Role,
        expires_unix_ms: u64,
        addresses: Vec<String>,
    ) -> Result<Ticket, MembershipError> {
        self.check_owner("invite")?;
        let secret = InviteSecret::from_bytes(self.entropy.array()?);
        let workspace = &self.workspace;
        let now = (self.clock)();
        let operation = workspace.membership.invite(&workspace.keys, secret.key(), role, expires_unix_ms, now)?;
        self.store_own(operation)?;
        Ok(Ticket {
            workspace: self.workspace.id,
            inviter: self.workspace.author(),
            role,
            secret,
            expires_unix_ms,
            addresses,
            frontier: self.workspace.membership.frontier(),
            epoch: self.workspace.membership.epoch(),
        })
    }

    /// Admits a device that shows a ticket and hands it the secrets; only owners may.
    pub fn admit(&mut self, request: &JoinRequest, now_unix_ms: u64) -> Result<AdminOperation, MembershipError> {
        self.check_owner("admit a device")?;
        let workspace = &self.workspace;
        let wrapped = wrap_secrets(
            &workspace.epoch,
            &workspace.blinding,
            workspace.id,
            request.author,
            &request.exchange_key,
            self.entropy.array()?,
        )?;
        let operation = workspace.membership.admit(&workspace.keys, request, wrapped, now_unix_ms)?;
        self.store_own(operation.clone())?;
        Ok(operation)
    }

    fn check_owner(&self, action: &'static str) -> Result<(), MembershipError> {
        self.check_writable()?;
        match self.workspace.role() {
            Some(Role::Owner) => Ok(()),
            _ => Err(MembershipError::OwnersOnly { action }),
        }
    }

    fn store_own(&mut self, operation: AdminOperation) -> Result<(), MembershipError> {
        let report = self.store_admin(std::slice::from_ref(&operation))?;
        match report.refused.into_iter().next() {
            Some((_, error)) => Err(error.into()),
            None => Ok(()),
        }
    }

    /// Takes in admin operations from a peer, in any order; what does not hold is named, the rest is stored durably.
    pub fn store_admin(&mut self, operations: &[AdminOperation]) -> Result<AdminReport, MembershipError> {
        self.check_writable()?;
        let mut membership = self.workspace.membership.clone();
        let mut report = AdminReport::default();
        let mut added: Vec<&AdminOperation> = Vec::new();
        let mut waiting: Vec<&AdminOperation> = operations.iter().collect();
        loop {
            let before = waiting.len();
            report.missing.clear();
            let mut still_waiting = Vec::new();
            for operation in waiting {
                match membership.add(operation.clone()) {
                    Ok(Added::Added) => added.push(operation),
                    Ok(Added::AlreadyKnown) => report.known += 1,
                    Ok(Added::MissingParents(missing)) => {
                        report.missing.extend(missing);
                        still_waiting.push(operation);
                    }
                    Err(error) => report.refused.push((operation.hash(), error)),
                }
            }
            waiting = still_waiting;
            if waiting.is_empty() || waiting.len() == before {
                break;
            }
        }
        report.missing.sort_unstable();
        report.missing.dedup();
        if !added.is_empty() {
            // On disk before anybody is told: a device that was let in must not be forgotten.
            self.durably::<_, rusqlite::Error>(|replica| {
                renew_workspace_version(&replica.conn)?;
                insert_admin(&replica.conn, added.iter().copied())
            })?;
            report.added = added.len();
            self.workspace.membership = membership;
        }
        Ok(report)
    }
}
