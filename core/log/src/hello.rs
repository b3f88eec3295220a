//! The proof that opens a session: a member signs for this one connection, both ends of it and this workspace.
//!
//! Invariants:
//! 1. A proof holds for one session: it covers both transport ids and both nonces.
//! 2. A proof holds for one side: it covers the role, so that it cannot be sent back to its maker.
//! 3. A workspace tag shows the workspace's id to nobody who does not have it.

use crate::device::{DeviceKeys, verify_signature};
use crate::ids::{AuthorId, HelloNonce, Signature, WorkspaceId, WorkspaceTag, derive};

const HELLO_DOMAIN: &str = "kithdb 2026 hello signature v1";

/// Which side of the session signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SessionRole {
    /// The side that opened the session.
    Initiator,
    /// The side that accepted it.
    Responder,
}

impl SessionRole {
    /// Returns the other side.
    pub const fn other(self) -> Self {
        match self {
            Self::Initiator => Self::Responder,
            Self::Responder => Self::Initiator,
        }
    }
}

/// What both sides know about the session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HelloContext {
    /// The workspace the session is for.
    pub workspace: WorkspaceId,
    /// The initiator's id in the transport, as the transport authenticated it.
    pub initiator_transport: Vec<u8>,
    /// The responder's id in the transport, as the transport authenticated it.
    pub responder_transport: Vec<u8>,
    /// The initiator's random nonce.
    pub initiator_nonce: HelloNonce,
    /// The responder's random nonce.
    pub responder_nonce: HelloNonce,
}

impl HelloContext {
    fn message(&self, role: SessionRole) -> [u8; 64] {
        derive(
            "kithdb 2026 hello transcript v1",
            &[
                self.workspace.as_bytes(),
                &self.initiator_transport,
                &self.responder_transport,
                self.initiator_nonce.as_bytes(),
                self.responder_nonce.as_bytes(),
                &[role as u8],
            ],
        )
    }
}

/// One side's proof that it is a member's device and means this session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HelloProof {
    /// The device.
    pub author: AuthorId,
    /// Its signature.
    pub signature: Signature,
}

/// Reports a proof that does not hold for this session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the other side's proof does not hold for this session")]
pub struct HelloError;

impl HelloProof {
    /// Signs for one side of a session.
    pub fn sign(context: &HelloContext, role: SessionRole, keys: &DeviceKeys) -> Self {
        Self { author: keys.author(), signature: keys.sign(HELLO_DOMAIN, &context.message(role)) }
    }

    /// Verifies the proof of the side `role`; whether the author is a member is for the membership to say.
    pub fn verify(&self, context: &HelloContext, role: SessionRole) -> Result<(), HelloError> {
        verify_signature(&self.author, HELLO_DOMAIN, &context.message(role), &self.signature).map_err(|_| HelloError)
    }
}

/// Names a workspace to those who know it, differently for every list of nonces.
pub fn workspace_tag(workspace: WorkspaceId, nonces: &[HelloNonce]) -> WorkspaceTag {
    let mut parts: Vec<&[u8]> = vec![workspace.as_bytes()];
    parts.extend(nonces.iter().map(|nonce| nonce.as_bytes() as &[u8]));
    WorkspaceTag::from_bytes(derive("kithdb 2026 workspace tag v1", &parts))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context() -> HelloContext {
        HelloContext {
            workspace: WorkspaceId::from_bytes([1; 32]),
            initiator_transport: b"initiator".to_vec(),
            responder_transport: b"responder".to_vec(),
            initiator_nonce: HelloNonce::from_bytes([2; 32]),
            responder_nonce: HelloNonce::from_bytes([3; 32]),
        }
    }

    #[test]
    fn proof_holds_for_its_session_and_side_only() {
        let keys = DeviceKeys::from_seeds([1; 32], [2; 32], [3; 32]);
        let proof = HelloProof::sign(&context(), SessionRole::Initiator, &keys);
        assert_eq!(proof.verify(&context(), SessionRole::Initiator), Ok(()));
        assert!(proof.verify(&context(), SessionRole::Responder).is_err(), "reflected to its maker");
        let others = [
            HelloContext { workspace: WorkspaceId::from_bytes([9; 32]), ..context() },
            HelloContext { initiator_transport: b"relay".to_vec(), ..context() },
            HelloContext { responder_transport: b"relay".to_vec(), ..context() },
            HelloContext { initiator_nonce: HelloNonce::from_bytes([9; 32]), ..context() },
            HelloContext { responder_nonce: HelloNonce::from_bytes([9; 32]), ..context() },
            HelloContext {
                initiator_transport: b"initiatorr".to_vec(),
                responder_transport: b"esponder".to_vec(),
                ..context()
            },
        ];
        for other in others {
            assert!(proof.verify(&other, SessionRole::Initiator).is_err(), "{other:?}");
        }
        let impostor = HelloProof { author: AuthorId::from_bytes([1; 32]), ..proof };
        assert!(impostor.verify(&context(), SessionRole::Initiator).is_err());
    }

    #[test]
    fn workspace_tags_differ_by_workspace_and_nonces() {
        let (a, b) = (HelloNonce::from_bytes([1; 32]), HelloNonce::from_bytes([2; 32]));
        let workspace = WorkspaceId::from_bytes([1; 32]);
        assert_eq!(workspace_tag(workspace, &[a, b]), workspace_tag(workspace, &[a, b]));
        assert_ne!(workspace_tag(workspace, &[a, b]), workspace_tag(workspace, &[b, a]));
        assert_ne!(workspace_tag(workspace, &[a]), workspace_tag(WorkspaceId::from_bytes([2; 32]), &[a]));
    }
}
