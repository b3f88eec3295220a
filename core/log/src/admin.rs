//! Admin operations: the signed records that found a workspace, invite to it and admit devices.
//!
//! Layout (numbers are LEB128; docs/FORMAT.md has the table): `version u8 | workspace 32 (zero in the genesis) | parents n,
//! n x 32 | author 32 | clock in ms | kind u8 | body | signature 64`.
//!
//! Invariants:
//! 1. An operation has exactly one encoding; its hash is over these bytes, and the genesis' hash is the workspace's id.
//! 2. Only the genesis has no parents.

use crate::codec::{DecodeError, Reader, put_bytes, put_varint};
use crate::device::{DeviceKeys, is_signing_key, verify_signature};
use crate::entry::ascends;
use crate::ids::{
    AdminHash, AuthorId, EpochId, ExchangeKey, InviteKey, Signature, WorkspaceId, WrappedSecrets, derive,
};
use crate::limits::{ADMIN_BYTES_MAX, DEVICE_NAME_BYTES_MAX, FORMAT_VERSION, FRONTIER_MAX};

const ADMIN_DOMAIN: &str = "kithdb 2026 admin signature v1";

const GENESIS: u8 = 0;
const INVITE: u8 = 1;
const ADMIT: u8 = 2;

/// What a member may do, the most first.
///
/// The codes in the format leave 2 (admin), 4 (reader) and 5 (relay) free.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Reads, writes, invites and admits.
    Owner,
    /// Reads and writes.
    Writer,
}

impl Role {
    /// Returns the code in the format.
    pub const fn code(self) -> u8 {
        match self {
            Self::Owner => 1,
            Self::Writer => 3,
        }
    }

    /// Finds the role of a code.
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Owner),
            3 => Some(Self::Writer),
            _ => None,
        }
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let code = reader.byte("role")?;
        Self::from_code(code).ok_or(DecodeError::Unknown { what: "role", value: u64::from(code) })
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Owner => "owner",
            Self::Writer => "writer",
        })
    }
}

/// What an admin operation does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdminBody {
    /// Founds the workspace; its author is the first owner.
    Genesis {
        /// The founder's key for wrapped secrets.
        exchange_key: ExchangeKey,
        /// Random, so that one device can found many workspaces.
        nonce: [u8; 32],
        /// The first epoch.
        epoch: EpochId,
        /// The founder's name, in clear for now.
        device_name: String,
    },
    /// Announces a ticket.
    Invite {
        /// The public half of the ticket's secret.
        invite_key: InviteKey,
        /// The role it gives.
        role: Role,
        /// When it runs out, in milliseconds since the Unix epoch.
        expires_unix_ms: u64,
    },
    /// Lets a device in that showed a ticket.
    Admit {
        /// The invite operation of the ticket.
        invite: AdminHash,
        /// The device.
        author: AuthorId,
        /// The device's key for wrapped secrets.
        exchange_key: ExchangeKey,
        /// The role, as the invite gives it.
        role: Role,
        /// The device's name, in clear for now.
        device_name: String,
        /// The ticket's secret signs for this device; see [`crate::ticket::InviteSecret::prove`].
        proof: Signature,
        /// The workspace's secrets, for this device only.
        wrapped: WrappedSecrets,
    },
}

/// A signed change of who belongs to the workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminOperation {
    /// The workspace; zero in the genesis, whose hash it is.
    pub workspace: WorkspaceId,
    /// The newest operations the author knew, ascending and distinct.
    pub parents: Vec<AdminHash>,
    /// The signer.
    pub author: AuthorId,
    /// The signer's wall clock, in milliseconds since the Unix epoch.
    pub clock_unix_ms: u64,
    /// What it does.
    pub body: AdminBody,
    /// The author's signature.
    pub signature: Signature,
}

impl AdminOperation {
    /// Founds a workspace; `nonce` is random.
    pub fn genesis(
        keys: &DeviceKeys,
        epoch: EpochId,
        nonce: [u8; 32],
        device_name: &str,
        now_unix_ms: u64,
    ) -> Result<Self, DecodeError> {
        let body =
            AdminBody::Genesis { exchange_key: keys.exchange_key(), nonce, epoch, device_name: device_name.to_owned() };
        Self::sign(keys, WorkspaceId::default(), Vec::new(), now_unix_ms, body)
    }

    /// Signs an operation; `parents` are sorted here.
    pub fn sign(
        keys: &DeviceKeys,
        workspace: WorkspaceId,
        mut parents: Vec<AdminHash>,
        clock_unix_ms: u64,
        body: AdminBody,
    ) -> Result<Self, DecodeError> {
        parents.sort_unstable();
        parents.dedup();
        let signature = Signature::default();
        let mut operation = Self { workspace, parents, author: keys.author(), clock_unix_ms, body, signature };
        operation.check()?;
        operation.signature = keys.sign(ADMIN_DOMAIN, &operation.signed_bytes());
        Ok(operation)
    }

    /// Returns the id of the workspace: the genesis names it by its hash, every other operation by its field.
    pub fn workspace_id(&self) -> WorkspaceId {
        match self.body {
            AdminBody::Genesis { .. } => WorkspaceId::from_bytes(*self.hash().as_bytes()),
            _ => self.workspace,
        }
    }

    /// Returns the operation's name.
    pub fn hash(&self) -> AdminHash {
        AdminHash::from_bytes(derive("kithdb 2026 admin hash v1", &[&self.encode()]))
    }

    /// Encodes the operation; what [`Self::check`] refuses does not decode again.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.signed_bytes();
        out.extend_from_slice(self.signature.as_bytes());
        out
    }

    fn signed_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        out.push(FORMAT_VERSION);
        out.extend_from_slice(self.workspace.as_bytes());
        put_varint(&mut out, self.parents.len() as u64);
        for parent in &self.parents {
            out.extend_from_slice(parent.as_bytes());
        }
        out.extend_from_slice(self.author.as_bytes());
        put_varint(&mut out, self.clock_unix_ms);
        match &self.body {
            AdminBody::Genesis { exchange_key, nonce, epoch, device_name } => {
                out.push(GENESIS);
                out.extend_from_slice(exchange_key.as_bytes());
                out.extend_from_slice(nonce);
                out.extend_from_slice(epoch.as_bytes());
                put_bytes(&mut out, device_name.as_bytes());
            }
            AdminBody::Invite { invite_key, role, expires_unix_ms } => {
                out.push(INVITE);
                out.extend_from_slice(invite_key.as_bytes());
                out.push(role.code());
                put_varint(&mut out, *expires_unix_ms);
            }
            AdminBody::Admit { invite, author, exchange_key, role, device_name, proof, wrapped } => {
                out.push(ADMIT);
                out.extend_from_slice(invite.as_bytes());
                out.extend_from_slice(author.as_bytes());
                out.extend_from_slice(exchange_key.as_bytes());
                out.push(role.code());
                put_bytes(&mut out, device_name.as_bytes());
                out.extend_from_slice(proof.as_bytes());
                out.extend_from_slice(wrapped.as_bytes());
            }
        }
        out
    }

    /// Decodes exactly one operation; whether it is true and allowed is for [`Self::verify`] and the membership to say.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > ADMIN_BYTES_MAX {
            let (size, max) = (bytes.len() as u64, ADMIN_BYTES_MAX as u64);
            return Err(DecodeError::TooLarge { what: "admin operation", size, max });
        }
        let mut reader = Reader::new(bytes);
        let version = reader.byte("admin operation version")?;
        if version != FORMAT_VERSION {
            return Err(DecodeError::Unknown { what: "admin operation version", value: u64::from(version) });
        }
        let workspace = WorkspaceId::from_bytes(reader.array("workspace")?);
        let mut parents = Vec::new();
        for _ in 0..reader.count(FRONTIER_MAX, "parents")? {
            parents.push(AdminHash::from_bytes(reader.array("parents")?));
        }
        let author = AuthorId::from_bytes(reader.array("author")?);
        let clock_unix_ms = reader.varint("clock")?;
        let body = read_body(&mut reader)?;
        let signature = Signature::from_bytes(reader.array("signature")?);
        reader.finish("admin operation")?;
        let operation = Self { workspace, parents, author, clock_unix_ms, body, signature };
        operation.check()?;
        Ok(operation)
    }

    /// Checks what every operation must keep to, whoever made it.
    pub fn check(&self) -> Result<(), DecodeError> {
        let wrong = |what| Err(DecodeError::NotCanonical { what });
        let is_genesis = matches!(self.body, AdminBody::Genesis { .. });
        if is_genesis != (self.workspace == WorkspaceId::default()) {
            return wrong("workspace");
        }
        if self.parents.len() > FRONTIER_MAX || is_genesis != self.parents.is_empty() || !ascends(&self.parents) {
            return wrong("parents");
        }
        match &self.body {
            AdminBody::Genesis { device_name, .. } | AdminBody::Admit { device_name, .. } => {
                check_device_name(device_name)
            }
            AdminBody::Invite { .. } => Ok(()),
        }
    }

    /// Checks everything that needs no other operation: the form, the keys, the signature.
    pub fn verify(&self) -> Result<(), AdminError> {
        self.check().map_err(AdminError::Malformed)?;
        let weak = |what| Err(AdminError::WeakKey { what });
        match &self.body {
            AdminBody::Genesis { .. } if !is_signing_key(self.author.as_bytes()) => return weak("founder"),
            AdminBody::Invite { invite_key, .. } if !is_signing_key(invite_key.as_bytes()) => return weak("invite"),
            AdminBody::Admit { author, .. } if !is_signing_key(author.as_bytes()) => return weak("admitted device"),
            _ => {}
        }
        verify_signature(&self.author, ADMIN_DOMAIN, &self.signed_bytes(), &self.signature)
            .map_err(|_| AdminError::Signature { author: self.author })
    }
}

fn read_body(reader: &mut Reader<'_>) -> Result<AdminBody, DecodeError> {
    Ok(match reader.byte("kind of admin operation")? {
        GENESIS => AdminBody::Genesis {
            exchange_key: ExchangeKey::from_bytes(reader.array("exchange key")?),
            nonce: reader.array("nonce")?,
            epoch: EpochId::from_bytes(reader.array("epoch")?),
            device_name: read_device_name(reader)?,
        },
        INVITE => AdminBody::Invite {
            invite_key: InviteKey::from_bytes(reader.array("invite key")?),
            role: Role::read(reader)?,
            expires_unix_ms: reader.varint("expiry")?,
        },
        ADMIT => AdminBody::Admit {
            invite: AdminHash::from_bytes(reader.array("invite")?),
            author: AuthorId::from_bytes(reader.array("admitted device")?),
            exchange_key: ExchangeKey::from_bytes(reader.array("exchange key")?),
            role: Role::read(reader)?,
            device_name: read_device_name(reader)?,
            proof: Signature::from_bytes(reader.array("proof")?),
            wrapped: WrappedSecrets::from_bytes(reader.array("wrapped secrets")?),
        },
        kind => return Err(DecodeError::Unknown { what: "kind of admin operation", value: u64::from(kind) }),
    })
}

pub(crate) fn read_device_name(reader: &mut Reader<'_>) -> Result<String, DecodeError> {
    let name = reader.text(DEVICE_NAME_BYTES_MAX, "device name")?;
    check_device_name(name)?;
    Ok(name.to_owned())
}

/// Checks a device's name: not empty, at most [`DEVICE_NAME_BYTES_MAX`] bytes, nothing that moves a terminal's cursor.
pub fn check_device_name(name: &str) -> Result<(), DecodeError> {
    if name.len() > DEVICE_NAME_BYTES_MAX {
        let (size, max) = (name.len() as u64, DEVICE_NAME_BYTES_MAX as u64);
        return Err(DecodeError::TooLarge { what: "device name", size, max });
    }
    if name.is_empty() || name.chars().any(char::is_control) {
        return Err(DecodeError::NotCanonical { what: "device name" });
    }
    Ok(())
}

/// Reports an admin operation that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AdminError {
    /// The operation breaks the format.
    #[error("the admin operation is malformed")]
    Malformed(#[source] DecodeError),
    /// The operation is from elsewhere, or the genesis is not the one that the workspace is named after.
    #[error("the admin operation belongs to workspace {found}, not to {expected}")]
    Workspace {
        /// The workspace of the operation.
        found: WorkspaceId,
        /// The workspace asked for.
        expected: WorkspaceId,
    },
    /// The first operation given is not a genesis.
    #[error("the workspace's first admin operation is not a genesis")]
    NoGenesis,
    /// A key is one that anyone can sign for.
    #[error("the key of the {what} is not a safe public key")]
    WeakKey {
        /// Whose key it is.
        what: &'static str,
    },
    /// The signature does not hold for the author.
    #[error("the admin operation is not signed by {author}")]
    Signature {
        /// The author named by the operation.
        author: AuthorId,
    },
    /// The author was no member as far as it knew.
    #[error("device {author} was not a member when it signed")]
    NotAMember {
        /// The author.
        author: AuthorId,
    },
    /// The author has no right to invite or admit.
    #[error("device {author} was a {role} when it signed; only owners invite and admit")]
    NotAnOwner {
        /// The author.
        author: AuthorId,
        /// The role it had.
        role: Role,
    },
    /// The invite is not one that its author knew and that counts.
    #[error("the invite is not known; ask for a new ticket")]
    InviteUnknown,
    /// The invite had run out.
    #[error("the invite has expired; ask for a new ticket")]
    InviteExpired {
        /// When it ran out, in milliseconds since the Unix epoch.
        expires_unix_ms: u64,
    },
    /// The invite had let a device in before.
    #[error("the invite has been used; ask for a new ticket")]
    InviteUsed,
    /// The role is not the one the invite gives.
    #[error("the invite gives the role of {given}, not of {asked}")]
    InviteRole {
        /// The invite's role.
        given: Role,
        /// The role in the operation.
        asked: Role,
    },
    /// The device showed no ticket, or one for another device.
    #[error("the ticket's secret has not signed for this device")]
    Proof,
    /// The device is in already.
    #[error("device {author} is a member already")]
    AlreadyMember {
        /// The device.
        author: AuthorId,
    },
    /// The workspace has as many admin operations as it may.
    #[error("the workspace has {max} admin operations, the most it may have")]
    TooMany {
        /// The limit.
        max: usize,
    },
}
