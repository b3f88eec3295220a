//! The first bytes of a session, which decide whether it is the one the two peers keep.
//!
//! The opener sends a preface (its process's random id, the number of the attempt); the other side answers with a verdict, its own process id
//! and the number of its last attempt, which is void from then on. All integers are little-endian.

use std::io;

use futures::{AsyncReadExt, AsyncWriteExt};
use libp2p::Stream;

use crate::limits::HANDSHAKE_TIMEOUT;

/// A random id of one life of a network, so that a restarted peer is told from an old message.
pub(crate) type Instance = [u8; 16];

/// What the opener says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Preface {
    pub(crate) instance: Instance,
    pub(crate) attempt: u64,
}

/// What the other side makes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// This is the session.
    Accept,
    /// Another session is the one; wait for it.
    Collision,
    /// There are as many sessions as this side allows.
    Full,
}

/// What the other side answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) verdict: Verdict,
    pub(crate) instance: Instance,
    /// Every attempt of the answering side up to this number is void.
    pub(crate) void_through: u64,
}

const PREFACE_BYTES: usize = 24;
const REPLY_BYTES: usize = 25;

impl Preface {
    fn encode(&self) -> [u8; PREFACE_BYTES] {
        let mut bytes = [0; PREFACE_BYTES];
        bytes[..16].copy_from_slice(&self.instance);
        bytes[16..].copy_from_slice(&self.attempt.to_le_bytes());
        bytes
    }

    fn decode(bytes: [u8; PREFACE_BYTES]) -> Self {
        let (instance, attempt) = split(&bytes);
        Self { instance, attempt }
    }
}

impl Reply {
    fn encode(&self) -> [u8; REPLY_BYTES] {
        let mut bytes = [0; REPLY_BYTES];
        bytes[0] = match self.verdict {
            Verdict::Accept => 1,
            Verdict::Collision => 2,
            Verdict::Full => 3,
        };
        bytes[1..17].copy_from_slice(&self.instance);
        bytes[17..].copy_from_slice(&self.void_through.to_le_bytes());
        bytes
    }

    fn decode(bytes: [u8; REPLY_BYTES]) -> io::Result<Self> {
        let verdict = match bytes[0] {
            1 => Verdict::Accept,
            2 => Verdict::Collision,
            3 => Verdict::Full,
            other => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("the peer answered with an unknown verdict ({other})"),
                ));
            }
        };
        let (instance, void_through) = split(&bytes[1..]);
        Ok(Self { verdict, instance, void_through })
    }
}

fn split(bytes: &[u8]) -> (Instance, u64) {
    let mut instance = [0; 16];
    let mut number = [0; 8];
    instance.copy_from_slice(&bytes[..16]);
    number.copy_from_slice(&bytes[16..24]);
    (instance, u64::from_le_bytes(number))
}

/// Offers a session and waits for the verdict.
pub(crate) async fn offer(stream: &mut Stream, preface: Preface) -> io::Result<Reply> {
    in_time(async {
        stream.write_all(&preface.encode()).await?;
        stream.flush().await?;
        let mut bytes = [0; REPLY_BYTES];
        stream.read_exact(&mut bytes).await?;
        Reply::decode(bytes)
    })
    .await
}

/// Reads what the opener says.
pub(crate) async fn hear(stream: &mut Stream) -> io::Result<Preface> {
    in_time(async {
        let mut bytes = [0; PREFACE_BYTES];
        stream.read_exact(&mut bytes).await?;
        Ok(Preface::decode(bytes))
    })
    .await
}

/// Tells the opener the verdict.
pub(crate) async fn answer(stream: &mut Stream, reply: Reply) -> io::Result<()> {
    in_time(async {
        stream.write_all(&reply.encode()).await?;
        stream.flush().await
    })
    .await
}

async fn in_time<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    match tokio::time::timeout(HANDSHAKE_TIMEOUT, work).await {
        Ok(result) => result,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the peer did not answer in time")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preface_and_reply_survive_the_wire() {
        let preface = Preface { instance: [9; 16], attempt: 0x0102_0304_0506_0708 };
        assert_eq!(Preface::decode(preface.encode()), preface);
        for verdict in [Verdict::Accept, Verdict::Collision, Verdict::Full] {
            let reply = Reply { verdict, instance: [3; 16], void_through: 77 };
            assert_eq!(Reply::decode(reply.encode()).unwrap(), reply);
        }
    }

    #[test]
    fn unknown_verdict_is_refused() {
        let error = Reply::decode([9; REPLY_BYTES]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
