//! Tickets: the text that lets one device join, and what the device then asks an owner.
//!
//! A ticket is `kith1` and base32 without padding of `version u8 | length u16 le of what follows | workspace 32 | inviter 32 |
//! role u8 | secret 32 | expiry | epoch 32 | addresses n, n x text | frontier n, n x 32 | checksum 6`.
//!
//! Invariants:
//! 1. A ticket that was cut short or mistyped is refused, and the error says which.
//! 2. The ticket's secret never leaves the device that joins: it signs for that device, and only the signature is sent.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE32_NOPAD;
use ed25519_dalek::SigningKey;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::admin::{Role, check_device_name, read_device_name};
use crate::codec::{DecodeError, Reader, put_bytes, put_varint};
use crate::device::{DeviceKeys, SignatureError, sign_with, verify_with};
use crate::entry::ascends;
use crate::ids::{AdminHash, AuthorId, EpochId, ExchangeKey, InviteKey, Signature, WorkspaceId, derive};
use crate::keys::secrets;
use crate::limits::{ADDRESS_BYTES_MAX, FORMAT_VERSION, FRONTIER_MAX, TICKET_ADDRESSES_MAX};

const PREFIX: &str = "kith";
const CHECKSUM_LEN: usize = 6;
const HEAD_LEN: usize = 3;
const PROOF_DOMAIN: &str = "kithdb 2026 invite proof v1";

secrets! {
    /// The one-use secret of a ticket; whoever has it can ask to join.
    InviteSecret;
}

impl InviteSecret {
    /// Returns the public half, which the invite operation names.
    pub fn key(&self) -> InviteKey {
        InviteKey::from_bytes(SigningKey::from_bytes(self.as_bytes()).verifying_key().to_bytes())
    }

    /// Signs that this ticket is used for this device and no other.
    pub fn prove(&self, workspace: WorkspaceId, author: AuthorId, exchange_key: &ExchangeKey) -> Signature {
        sign_with(&SigningKey::from_bytes(self.as_bytes()), PROOF_DOMAIN, &proof_bytes(workspace, author, exchange_key))
    }

    /// Builds what the joining device asks an owner.
    pub fn request(
        &self,
        workspace: WorkspaceId,
        keys: &DeviceKeys,
        device_name: &str,
    ) -> Result<JoinRequest, DecodeError> {
        check_device_name(device_name)?;
        let (author, exchange_key) = (keys.author(), keys.exchange_key());
        let proof = self.prove(workspace, author, &exchange_key);
        Ok(JoinRequest { invite_key: self.key(), author, exchange_key, device_name: device_name.to_owned(), proof })
    }
}

/// Verifies that the holder of a ticket's secret signed for a device.
pub fn verify_invite_proof(
    invite_key: &InviteKey,
    workspace: WorkspaceId,
    author: AuthorId,
    exchange_key: &ExchangeKey,
    proof: &Signature,
) -> Result<(), SignatureError> {
    verify_with(invite_key.as_bytes(), PROOF_DOMAIN, &proof_bytes(workspace, author, exchange_key), proof)
}

fn proof_bytes(workspace: WorkspaceId, author: AuthorId, exchange_key: &ExchangeKey) -> Vec<u8> {
    [*workspace.as_bytes(), *author.as_bytes(), *exchange_key.as_bytes()].concat()
}

/// What a joining device sends to an owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinRequest {
    /// The public half of the ticket's secret.
    pub invite_key: InviteKey,
    /// The joining device.
    pub author: AuthorId,
    /// Its key for wrapped secrets.
    pub exchange_key: ExchangeKey,
    /// The name it goes by.
    pub device_name: String,
    /// The ticket's secret signs for this device.
    pub proof: Signature,
}

impl JoinRequest {
    /// Encodes the request.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![FORMAT_VERSION];
        out.extend_from_slice(self.invite_key.as_bytes());
        out.extend_from_slice(self.author.as_bytes());
        out.extend_from_slice(self.exchange_key.as_bytes());
        put_bytes(&mut out, self.device_name.as_bytes());
        out.extend_from_slice(self.proof.as_bytes());
        out
    }

    /// Decodes exactly one request.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let version = reader.byte("join request version")?;
        if version != FORMAT_VERSION {
            return Err(DecodeError::Unknown { what: "join request version", value: u64::from(version) });
        }
        let request = Self {
            invite_key: InviteKey::from_bytes(reader.array("invite key")?),
            author: AuthorId::from_bytes(reader.array("author")?),
            exchange_key: ExchangeKey::from_bytes(reader.array("exchange key")?),
            device_name: read_device_name(&mut reader)?,
            proof: Signature::from_bytes(reader.array("proof")?),
        };
        reader.finish("join request")?;
        Ok(request)
    }
}

/// An invitation as it is handed over outside of KithDB; treat it as a password until it is used.
#[derive(Clone, PartialEq, Eq)]
pub struct Ticket {
    /// The workspace to join.
    pub workspace: WorkspaceId,
    /// The owner who invites.
    pub inviter: AuthorId,
    /// The role it gives.
    pub role: Role,
    /// The one-use secret.
    pub secret: InviteSecret,
    /// When it runs out, in milliseconds since the Unix epoch.
    pub expires_unix_ms: u64,
    /// Where to find a peer; the text of the ticket leaves out what is above the limits.
    pub addresses: Vec<String>,
    /// The newest admin operations the inviter knew, ascending and distinct; a history without them is refused.
    pub frontier: Vec<AdminHash>,
    /// The epoch at the time of the invitation.
    pub epoch: EpochId,
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ticket({}, {})", self.workspace.short(), self.role)
    }
}

/// Reports a text that is not a whole, correct ticket.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TicketError {
    /// The text is something else.
    #[error("this is not a ticket; a ticket begins with \"kith1\"")]
    NotATicket,
    /// The end is missing.
    #[error("the ticket is cut short; copy all of it")]
    CutShort,
    /// Some of it is wrong.
    #[error("the ticket is mistyped; copy it again")]
    Mistyped,
    /// A later release made it.
    #[error("the ticket has version {version}, newer than this program knows; update kithdb")]
    NewerVersion {
        /// The version found.
        version: u32,
    },
    /// The checksum holds, but the content breaks the format.
    #[error("the ticket is malformed; ask for a new one")]
    Malformed(#[source] DecodeError),
}

impl Ticket {
    fn encode(&self) -> Zeroizing<Vec<u8>> {
        // Reserved in full, so that no growth leaves a copy of the secret behind in freed memory.
        let addresses_len: usize = self.addresses.iter().map(|address| address.len() + 10).sum();
        let mut out = Zeroizing::new(Vec::with_capacity(256 + addresses_len + self.frontier.len() * AdminHash::LEN));
        out.extend_from_slice(&[FORMAT_VERSION, 0, 0]);
        out.extend_from_slice(self.workspace.as_bytes());
        out.extend_from_slice(self.inviter.as_bytes());
        out.push(self.role.code());
        out.extend_from_slice(self.secret.as_bytes());
        put_varint(&mut out, self.expires_unix_ms);
        out.extend_from_slice(self.epoch.as_bytes());
        let addresses = self.addresses.iter().filter(|address| address.len() <= ADDRESS_BYTES_MAX);
        let addresses: Vec<_> = addresses.take(TICKET_ADDRESSES_MAX).collect();
        put_varint(&mut out, addresses.len() as u64);
        for address in addresses {
            put_bytes(&mut out, address.as_bytes());
        }
        let mut frontier = self.frontier.clone();
        frontier.sort_unstable();
        frontier.dedup();
        frontier.truncate(FRONTIER_MAX);
        put_varint(&mut out, frontier.len() as u64);
        for hash in &frontier {
            out.extend_from_slice(hash.as_bytes());
        }
        let rest_len = (out.len() + CHECKSUM_LEN - HEAD_LEN) as u16;
        out[1..HEAD_LEN].copy_from_slice(&rest_len.to_le_bytes());
        let checksum = checksum(&out);
        out.extend_from_slice(&checksum);
        out
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let workspace = WorkspaceId::from_bytes(reader.array("workspace")?);
        let inviter = AuthorId::from_bytes(reader.array("inviter")?);
        let role = Role::read(reader)?;
        let secret = InviteSecret::from_bytes(reader.array("secret")?);
        let expires_unix_ms = reader.varint("expiry")?;
        let epoch = EpochId::from_bytes(reader.array("epoch")?);
        let mut addresses = Vec::new();
        for _ in 0..reader.count(TICKET_ADDRESSES_MAX, "addresses")? {
            addresses.push(reader.text(ADDRESS_BYTES_MAX, "address")?.to_owned());
        }
        let mut frontier = Vec::new();
        for _ in 0..reader.count(FRONTIER_MAX, "admin frontier")? {
            frontier.push(AdminHash::from_bytes(reader.array("admin frontier")?));
        }
        if !ascends(&frontier) {
            return Err(DecodeError::NotCanonical { what: "admin frontier" });
        }
        Ok(Self { workspace, inviter, role, secret, expires_unix_ms, addresses, frontier, epoch })
    }
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_LEN] {
    derive("kithdb 2026 ticket checksum v1", &[bytes])
}

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.encode();
        let mut text = Zeroizing::new(BASE32_NOPAD.encode(&bytes));
        text.make_ascii_lowercase();
        write!(f, "{PREFIX}{FORMAT_VERSION}{}", *text)
    }
}

impl FromStr for Ticket {
    type Err = TicketError;

    /// Parses a ticket; spaces around it and capital letters do not matter.
    fn from_str(text: &str) -> Result<Self, TicketError> {
        let text = Zeroizing::new(text.trim().to_ascii_lowercase());
        let body = text.strip_prefix(PREFIX).ok_or(TicketError::NotATicket)?;
        // The first content character of every version below 8 is a letter, so the digits are the version's alone.
        let digits_len = body.bytes().take_while(u8::is_ascii_digit).count();
        let (digits, body) = body.split_at(digits_len);
        match digits.parse() {
            _ if digits.starts_with('0') => return Err(TicketError::NotATicket),
            Ok(version) if version == u32::from(FORMAT_VERSION) => {}
            Ok(version) if version > u32::from(FORMAT_VERSION) => return Err(TicketError::NewerVersion { version }),
            _ => return Err(TicketError::NotATicket),
        }
        let upper = Zeroizing::new(body.to_ascii_uppercase());
        let decode = |text: &str| BASE32_NOPAD.decode(text.as_bytes()).map_err(|_| TicketError::Mistyped);
        // Eight characters are five bytes: enough for the length, which tells a cut from a typing error.
        let head = decode(upper.get(..8).ok_or(TicketError::CutShort)?)?;
        let declared_len = HEAD_LEN + usize::from(u16::from_le_bytes([head[1], head[2]]));
        let text_len = (declared_len * 8).div_ceil(5);
        if upper.len() < text_len {
            return Err(TicketError::CutShort);
        }
        if upper.len() > text_len || declared_len < HEAD_LEN + CHECKSUM_LEN {
            return Err(TicketError::Mistyped);
        }
        let bytes = Zeroizing::new(decode(&upper)?);
        let (content, sum) = bytes.split_at(bytes.len() - CHECKSUM_LEN);
        if sum != checksum(content) {
            return Err(TicketError::Mistyped);
        }
        if content[0] != FORMAT_VERSION {
            return Err(TicketError::NewerVersion { version: u32::from(content[0]) });
        }
        let mut reader = Reader::new(&content[HEAD_LEN..]);
        let ticket = Self::read(&mut reader).map_err(TicketError::Malformed)?;
        reader.finish("ticket").map_err(TicketError::Malformed)?;
        Ok(ticket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ticket(addresses: Vec<String>, heads: u8) -> Ticket {
        Ticket {
            workspace: WorkspaceId::from_bytes([1; 32]),
            inviter: AuthorId::from_bytes([2; 32]),
            role: Role::Writer,
            secret: InviteSecret::from_bytes([3; 32]),
            expires_unix_ms: 1_800_000_000_000,
            addresses,
            frontier: (0..heads).map(|head| AdminHash::from_bytes([head; 32])).collect(),
            epoch: EpochId::from_bytes([4; 32]),
        }
    }

    #[test]
    fn every_cut_of_a_ticket_is_called_cut_short() {
        let text = ticket(vec!["/ip4/192.168.1.7/udp/4001/quic-v1".into()], 2).to_string();
        assert_eq!(text.parse(), Ok(ticket(vec!["/ip4/192.168.1.7/udp/4001/quic-v1".into()], 2)));
        for len in 5..text.len() {
            assert_eq!(text[..len].parse::<Ticket>(), Err(TicketError::CutShort), "{len}");
        }
    }

    #[test]
    fn every_mistyped_character_is_refused() {
        let text = ticket(vec![], 1).to_string();
        for index in 0..text.len() {
            for with in ["a", "q", "7", "0", "é", " "] {
                let mut changed = text.clone();
                changed.replace_range(index..=index, with);
                // A blank for the last character is trimmed away, which is a cut.
                assert!(changed == text || changed.parse::<Ticket>().is_err(), "{index} {with}");
            }
        }
        assert_eq!(format!("{text}a").parse::<Ticket>(), Err(TicketError::Mistyped));
    }

    #[test]
    fn errors_say_what_is_wrong() {
        let text = ticket(vec![], 1).to_string();
        for other in ["", "hello", "https://example.org", "kith", "kithaaaa", "kith0aaaa"] {
            assert_eq!(other.parse::<Ticket>(), Err(TicketError::NotATicket), "{other}");
        }
        let newer = text.replacen("kith1", "kith2", 1);
        assert_eq!(newer.parse::<Ticket>(), Err(TicketError::NewerVersion { version: 2 }));
        // Found by fuzzing: a second text of one ticket.
        assert_eq!(text.replacen("kith1", "kith01", 1).parse::<Ticket>(), Err(TicketError::NotATicket));
        let middle = text.replacen(&text[60..64], "2222", 1);
        assert_eq!(middle.parse::<Ticket>(), Err(TicketError::Mistyped));
        assert_eq!(format!(" {} \n", text.to_uppercase()).parse(), Ok(ticket(vec![], 1)));
    }

    #[test]
    fn secret_does_not_show_in_debug() {
        assert_eq!(format!("{:?}", ticket(vec![], 0)), "Ticket(01010101, writer)");
    }

    #[test]
    fn proof_holds_for_its_device_only() {
        let (secret, keys) = (InviteSecret::from_bytes([1; 32]), DeviceKeys::from_seeds([1; 32], [2; 32], [3; 32]));
        let workspace = WorkspaceId::from_bytes([9; 32]);
        let request = secret.request(workspace, &keys, "phone").unwrap();
        let verify = |author, key| verify_invite_proof(&request.invite_key, workspace, author, key, &request.proof);
        assert_eq!(verify(request.author, &request.exchange_key), Ok(()));
        assert!(verify(AuthorId::from_bytes([1; 32]), &request.exchange_key).is_err());
        assert!(verify(request.author, &ExchangeKey::from_bytes([1; 32])).is_err());
        assert_eq!(JoinRequest::decode(&request.encode()), Ok(request.clone()));
        assert!(secret.request(workspace, &keys, "bell \u{7}").is_err());
    }

    proptest! {
        #[test]
        fn tickets_come_back(addresses in proptest::collection::vec("[a-z0-9/.]{0,40}", 0..4), heads in 0u8..16, owner: bool, expires: u64) {
            let role = if owner { Role::Owner } else { Role::Writer };
            let ticket = Ticket { role, expires_unix_ms: expires, ..ticket(addresses, heads) };
            prop_assert_eq!(ticket.to_string().parse(), Ok(ticket));
        }

        #[test]
        fn whatever_parses_prints_the_same(text in "kith1[a-z2-7]{0,80}") {
            if let Ok(ticket) = text.parse::<Ticket>() {
                prop_assert_eq!(ticket.to_string(), text);
            }
        }
    }
}
