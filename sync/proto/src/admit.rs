//! Admission: whether an entry may be stored, judged from the entry, the membership and its stream alone.
//!
//! Size and version are judged by decoding, the lane by whoever asked for the stream. Then, in this order: workspace,
//! author and rights at the entry's admin frontier, hashes and signature, place in the chain. A clock that is far ahead is
//! no reason to refuse: the entry is stored and passed on, and the replica waits before it applies it.
//!
//! Invariant: `Verdict::Take` is given only to an entry whose signature was verified here and that continues the chain.

use kithdb_log::{EntryError, EntryHash, Membership, NotAllowed, SealedEntry, SequenceNumber, WorkspaceId};

use crate::output::Refusal;
use crate::streams::Stream;

/// What to do with an entry.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Store it; this is its hash.
    Take(EntryHash),
    /// It is here already.
    Duplicate,
    /// It is valid, but entries before it are missing.
    Gap,
    /// This device signed it, and another one is stored in its place or the place before; or it is to be seen whether it is the same.
    Own(EntryHash),
    /// Its author signed two entries with one number.
    Fork { sequence: SequenceNumber, kept: EntryHash, refused: EntryHash },
    /// It names an admin operation that is not here.
    UnknownFrontier(NotAllowed),
    /// It must not be stored.
    Refuse(Refusal),
}

/// Judges an entry against what is stored or on its way to the store.
pub(crate) fn judge(
    entry: &SealedEntry,
    workspace: WorkspaceId,
    membership: &Membership,
    stream: Option<&Stream>,
    is_own: bool,
) -> Verdict {
    let header = &entry.header;
    if header.workspace != workspace {
        let error = EntryError::Workspace { found: header.workspace, expected: workspace };
        return Verdict::Refuse(Refusal::Invalid(error));
    }
    let (height, head) = match stream {
        Some(stream) => (stream.pending_height, stream.pending_head),
        None => (SequenceNumber::new(0), EntryHash::default()),
    };
    let is_old_own = is_own && stream.is_some_and(|stream| header.sequence <= stream.height);
    if header.sequence < height && !is_old_own || (header.sequence == height && entry.hash() == head) {
        return Verdict::Duplicate;
    }
    match membership.allowed_at(header.stream.author, &header.frontier) {
        Ok(_) => {}
        Err(unknown @ NotAllowed::UnknownFrontier(_)) => return Verdict::UnknownFrontier(unknown),
        Err(error) => return Verdict::Refuse(Refusal::NotAllowed(error)),
    }
    if let Err(error) = entry.verify(workspace) {
        return Verdict::Refuse(Refusal::Invalid(error));
    }
    if header.sequence > height.next() {
        return Verdict::Gap;
    }
    let hash = entry.hash();
    if is_own && (header.sequence <= height || header.previous != head) {
        return Verdict::Own(hash);
    }
    if header.sequence == height {
        return Verdict::Fork { sequence: height, kept: head, refused: hash };
    }
    // The author signed that another entry comes before this one: that is as good as showing it.
    if header.previous != head {
        return Verdict::Fork { sequence: height, kept: head, refused: header.previous };
    }
    Verdict::Take(hash)
}
