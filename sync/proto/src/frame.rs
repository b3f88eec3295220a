//! The frames of a session and their bytes.
//!
//! A frame is one message of a reliable, ordered channel: a version byte, a kind byte, the fields.
//!
//! Invariants:
//! 1. Decoding never panics and refuses counts and lengths above their limit before it allocates.
//! 2. Every frame has exactly one accepted encoding.

use kithdb_log::codec::{DecodeError, Reader, put_bytes, put_varint};
use kithdb_log::ids::{HelloNonce, WorkspaceTag};
use kithdb_log::limits::{ADMIN_BYTES_MAX, FRONTIER_MAX};
use kithdb_log::{
    AdminHash, ArrivalNumber, AuthorId, EntryHash, IncarnationId, JoinRequest, LaneId, ReplicaId, SequenceNumber,
    Signature, StreamId,
};

use crate::limits::{
    CHUNK_BYTES_MAX, FRAME_BYTES_MAX, HEADS_MAX, JOIN_BYTES_MAX, OPERATIONS_MAX, PROTOCOL_VERSION, PUSH_BYTES_MAX,
};
use crate::types::{CloseCode, Digest, JoinFault, StreamHead};

/// Names one range of entries that was asked for, within a session and a direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct WantId(pub(crate) u64);

/// One message between two peers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Frame<'a> {
    /// Opens the session; the tag proves knowledge of the workspace id without showing it.
    Hello {
        /// Fresh random bytes.
        nonce: HelloNonce,
        /// A hash of the nonces and the transport ids under the workspace id.
        tag: WorkspaceTag,
    },
    /// Proves that the sender holds a device key.
    Proof {
        /// The device.
        author: AuthorId,
        /// The replica that speaks, for arrival numbers.
        replica: ReplicaId,
        /// The device's signature over the hello.
        signature: Signature,
    },
    /// Asks for the admin operations that are not in the past of these.
    AskAdmin {
        /// What the asker has; empty before the other side is proven.
        frontier: Vec<AdminHash>,
    },
    /// Carries admin operations, causes before effects.
    Admin {
        /// Whether the answer ends here.
        last: bool,
        /// The encoded operations.
        operations: Vec<&'a [u8]>,
    },
    /// Says in a few bytes all that the sender holds.
    Summary {
        /// The sender's count of arrivals.
        arrival: ArrivalNumber,
        /// A hash of all streams and admin operations.
        digest: Digest,
        /// The receiver's count up to which the sender holds everything of it.
        remembered: ArrivalNumber,
    },
    /// Lists streams and how far they go at the sender.
    Have {
        /// With this frame the receiver was told of everything up to this arrival.
        arrival: ArrivalNumber,
        /// Whether the answer to a summary ends here.
        complete: bool,
        /// The streams.
        heads: Vec<StreamHead>,
    },
    /// Says that the sender has stored everything it was told of.
    Caught {
        /// With this frame the receiver was told of everything up to this arrival.
        arrival: ArrivalNumber,
        /// A hash of all streams and admin operations of the sender.
        digest: Digest,
    },
    /// Asks for the entries of a stream.
    Want {
        /// Numbers the request; greater than every earlier one.
        id: WantId,
        /// The stream.
        stream: StreamId,
        /// The first entry asked for.
        from: SequenceNumber,
        /// Adds to the credit of the session, in bytes.
        credit: u64,
    },
    /// Takes a request back; the answer still ends with [`Frame::End`].
    Cancel {
        /// The request.
        id: WantId,
    },
    /// Adds to the credit of the session.
    Credit {
        /// How many more bytes of entries the other side may send.
        bytes: u64,
    },
    /// Carries a piece of the entries asked for: each one's length and bytes, one after the other.
    Data {
        /// The request.
        id: WantId,
        /// Where in the answer the piece belongs.
        offset: u64,
        /// The piece.
        bytes: &'a [u8],
    },
    /// Ends an answer; a cut connection can look like a clean end, this cannot.
    End {
        /// The request.
        id: WantId,
        /// The sequence number after the last entry sent.
        next: SequenceNumber,
    },
    /// Carries new small entries of one stream without being asked.
    Push {
        /// With this frame the receiver was told of everything up to this arrival.
        arrival: ArrivalNumber,
        /// The encoded entries.
        entries: Vec<&'a [u8]>,
    },
    /// Asks to become a member; takes the place of [`Frame::Proof`].
    Join(JoinRequest),
    /// Follows the admin operations that a new member gets.
    Joined,
    /// Refuses a request to join, by name.
    JoinRefused {
        /// Why.
        fault: JoinFault,
    },
    /// Is the last frame of its sender.
    Close {
        /// Why.
        code: CloseCode,
    },
}

const HELLO: u8 = 1;
const PROOF: u8 = 2;
const ASK_ADMIN: u8 = 3;
const ADMIN: u8 = 4;
const SUMMARY: u8 = 5;
const HAVE: u8 = 6;
const CAUGHT: u8 = 7;
const WANT: u8 = 8;
const CANCEL: u8 = 9;
const CREDIT: u8 = 10;
const DATA: u8 = 11;
const END: u8 = 12;
const PUSH: u8 = 13;
const JOIN: u8 = 14;
const JOINED: u8 = 15;
const JOIN_REFUSED: u8 = 16;
const CLOSE: u8 = 17;

impl Frame<'_> {
    /// Returns the bytes of the frame.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.size_guess());
        out.push(PROTOCOL_VERSION);
        match self {
            Self::Hello { nonce, tag } => {
                out.push(HELLO);
                out.extend_from_slice(nonce.as_bytes());
                out.extend_from_slice(tag.as_bytes());
            }
            Self::Proof { author, replica, signature } => {
                out.push(PROOF);
                out.extend_from_slice(author.as_bytes());
                out.extend_from_slice(replica.as_bytes());
                out.extend_from_slice(signature.as_bytes());
            }
            Self::AskAdmin { frontier } => {
                out.push(ASK_ADMIN);
                put_varint(&mut out, frontier.len() as u64);
                frontier.iter().for_each(|hash| out.extend_from_slice(hash.as_bytes()));
            }
            Self::Admin { last, operations } => {
                out.push(ADMIN);
                out.push(u8::from(*last));
                put_list(&mut out, operations);
            }
            Self::Summary { arrival, digest, remembered } => {
                out.push(SUMMARY);
                put_varint(&mut out, arrival.get());
                out.extend_from_slice(digest.as_bytes());
                put_varint(&mut out, remembered.get());
            }
            Self::Have { arrival, complete, heads } => {
                out.push(HAVE);
                put_varint(&mut out, arrival.get());
                out.push(u8::from(*complete));
                put_varint(&mut out, heads.len() as u64);
                for head in heads {
                    put_stream(&mut out, &head.id);
                    put_varint(&mut out, head.height.get());
                    out.extend_from_slice(head.head.as_bytes());
                }
            }
            Self::Caught { arrival, digest } => {
                out.push(CAUGHT);
                put_varint(&mut out, arrival.get());
                out.extend_from_slice(digest.as_bytes());
            }
            Self::Want { id, stream, from, credit } => {
                out.push(WANT);
                put_varint(&mut out, id.0);
                put_stream(&mut out, stream);
                put_varint(&mut out, from.get());
                put_varint(&mut out, *credit);
            }
            Self::Cancel { id } => {
                out.push(CANCEL);
                put_varint(&mut out, id.0);
            }
            Self::Credit { bytes } => {
                out.push(CREDIT);
                put_varint(&mut out, *bytes);
            }
            Self::Data { id, offset, bytes } => {
                out.push(DATA);
                put_varint(&mut out, id.0);
                put_varint(&mut out, *offset);
                put_bytes(&mut out, bytes);
            }
            Self::End { id, next } => {
                out.push(END);
                put_varint(&mut out, id.0);
                put_varint(&mut out, next.get());
            }
            Self::Push { arrival, entries } => {
                out.push(PUSH);
                put_varint(&mut out, arrival.get());
                put_list(&mut out, entries);
            }
            Self::Join(request) => {
                out.push(JOIN);
                put_bytes(&mut out, &request.encode());
            }
            Self::Joined => out.push(JOINED),
            Self::JoinRefused { fault } => out.extend_from_slice(&[JOIN_REFUSED, fault.code()]),
            Self::Close { code } => out.extend_from_slice(&[CLOSE, code.code()]),
        }
        out
    }

    fn size_guess(&self) -> usize {
        match self {
            Self::Data { bytes, .. } => bytes.len() + 32,
            Self::Push { entries: list, .. } | Self::Admin { operations: list, .. } => {
                list.iter().map(|item| item.len() + 5).sum::<usize>() + 32
            }
            Self::Have { heads, .. } => heads.len() * 122 + 32,
            _ => 192,
        }
    }
}

impl<'a> Frame<'a> {
    /// Reads a frame from exactly `bytes`.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        if bytes.len() > FRAME_BYTES_MAX {
            return Err(DecodeError::TooLarge { what: "frame", size: bytes.len() as u64, max: FRAME_BYTES_MAX as u64 });
        }
        let mut reader = Reader::new(bytes);
        match reader.byte("protocol version")? {
            PROTOCOL_VERSION => {}
            other => return Err(DecodeError::Unknown { what: "protocol version", value: u64::from(other) }),
        }
        let frame = Self::decode_kind(&mut reader)?;
        reader.finish("frame")?;
        Ok(frame)
    }

    fn decode_kind(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(match reader.byte("frame kind")? {
            HELLO => Self::Hello {
                nonce: HelloNonce::from_bytes(reader.array("nonce")?),
                tag: WorkspaceTag::from_bytes(reader.array("tag")?),
            },
            PROOF => Self::Proof {
                author: AuthorId::from_bytes(reader.array("author")?),
                replica: ReplicaId::from_bytes(reader.array("replica")?),
                signature: Signature::from_bytes(reader.array("signature")?),
            },
            ASK_ADMIN => {
                let count = reader.count(FRONTIER_MAX, "frontier")?;
                let hashes = (0..count).map(|_| reader.array("frontier").map(AdminHash::from_bytes));
                Self::AskAdmin { frontier: hashes.collect::<Result<_, _>>()? }
            }
            ADMIN => Self::Admin {
                last: read_bool(reader, "last")?,
                operations: read_list(reader, OPERATIONS_MAX, ADMIN_BYTES_MAX, "admin operations")?,
            },
            SUMMARY => Self::Summary {
                arrival: ArrivalNumber::new(reader.varint("arrival")?),
                digest: Digest::from_bytes(reader.array("digest")?),
                remembered: ArrivalNumber::new(reader.varint("remembered")?),
            },
            HAVE => Self::Have {
                arrival: ArrivalNumber::new(reader.varint("arrival")?),
                complete: read_bool(reader, "complete")?,
                heads: read_heads(reader)?,
            },
            CAUGHT => Self::Caught {
                arrival: ArrivalNumber::new(reader.varint("arrival")?),
                digest: Digest::from_bytes(reader.array("digest")?),
            },
            WANT => Self::Want {
                id: WantId(reader.varint("want")?),
                stream: read_stream(reader)?,
                from: SequenceNumber::new(reader.varint("sequence")?),
                credit: reader.varint("credit")?,
            },
            CANCEL => Self::Cancel { id: WantId(reader.varint("want")?) },
            CREDIT => Self::Credit { bytes: reader.varint("credit")? },
            DATA => Self::Data {
                id: WantId(reader.varint("want")?),
                offset: reader.varint("offset")?,
                bytes: reader.bytes(CHUNK_BYTES_MAX, "chunk")?,
            },
            END => {
                Self::End { id: WantId(reader.varint("want")?), next: SequenceNumber::new(reader.varint("sequence")?) }
            }
            PUSH => Self::Push {
                arrival: ArrivalNumber::new(reader.varint("arrival")?),
                entries: read_list(reader, PUSH_BYTES_MAX, PUSH_BYTES_MAX, "pushed entries")?,
            },
            JOIN => Self::Join(JoinRequest::decode(reader.bytes(JOIN_BYTES_MAX, "join request")?)?),
            JOINED => Self::Joined,
            JOIN_REFUSED => Self::JoinRefused { fault: JoinFault::from_code(reader.byte("join fault")?)? },
            CLOSE => Self::Close { code: CloseCode::from_code(reader.byte("close code")?)? },
            other => return Err(DecodeError::Unknown { what: "frame kind", value: u64::from(other) }),
        })
    }
}

fn put_stream(out: &mut Vec<u8>, stream: &StreamId) {
    out.extend_from_slice(stream.author.as_bytes());
    out.extend_from_slice(stream.incarnation.as_bytes());
    out.extend_from_slice(stream.lane.as_bytes());
}

fn read_stream(reader: &mut Reader<'_>) -> Result<StreamId, DecodeError> {
    Ok(StreamId {
        author: AuthorId::from_bytes(reader.array("author")?),
        incarnation: IncarnationId::from_bytes(reader.array("incarnation")?),
        lane: LaneId::from_bytes(reader.array("lane")?),
    })
}

fn put_list(out: &mut Vec<u8>, items: &[&[u8]]) {
    put_varint(out, items.len() as u64);
    items.iter().for_each(|item| put_bytes(out, item));
}

fn read_list<'a>(
    reader: &mut Reader<'a>,
    count_max: usize,
    bytes_max: usize,
    what: &'static str,
) -> Result<Vec<&'a [u8]>, DecodeError> {
    let count = reader.count(count_max, what)?;
    // An item takes at least its length byte, so what is left bounds what a claimed count can make us reserve.
    let mut items = Vec::with_capacity(count.min(reader.rest().len()));
    for _ in 0..count {
        items.push(reader.bytes(bytes_max, what)?);
    }
    Ok(items)
}

fn read_heads(reader: &mut Reader<'_>) -> Result<Vec<StreamHead>, DecodeError> {
    let count = reader.count(HEADS_MAX, "heads")?;
    let mut heads = Vec::with_capacity(count.min(reader.rest().len() / 113));
    for _ in 0..count {
        heads.push(StreamHead {
            id: read_stream(reader)?,
            height: SequenceNumber::new(reader.varint("height")?),
            head: EntryHash::from_bytes(reader.array("head")?),
        });
    }
    Ok(heads)
}

fn read_bool(reader: &mut Reader<'_>, what: &'static str) -> Result<bool, DecodeError> {
    match reader.byte(what)? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(DecodeError::NotCanonical { what }),
    }
}
