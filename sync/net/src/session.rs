//! One session: a task that moves frames between a substream, the application and the send queue.
//!
//! Invariants:
//! 1. A session emits `SessionOpened` once before its frames and `SessionClosed` once after them, or nothing at all.
//! 2. The bytes queued to be sent stay below [`NetLimits::queue_bytes_max`](crate::NetLimits::queue_bytes_max); a received frame is read only
//!    when the one before it has been handed over.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use futures::AsyncReadExt;
use futures::io::{BufReader, ReadHalf};
use libp2p::Stream;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;

use crate::address::Address;
use crate::error::SendError;
use crate::event::{CloseReason, NetEvent, SessionId};
use crate::frame::{Progress, Queued, lost, read_frame, write_frames};
use crate::handshake::{self, Reply};
use crate::identity::PeerId;
use crate::limits::{CHUNK_BYTES, CLOSE_GRACE, FRAME_BYTES_MAX, FRAME_OVERHEAD_BYTES};

/// The send queues of the open sessions, shared between the handles and the sessions' tasks.
#[derive(Clone, Default)]
pub(crate) struct Registry(Arc<Mutex<HashMap<SessionId, Arc<SendQueue>>>>);

/// What waits to be sent in one session.
pub(crate) struct SendQueue {
    frames: mpsc::UnboundedSender<Queued>,
    room: Arc<Semaphore>,
    bytes_max: usize,
}

impl Registry {
    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Arc<SendQueue>>> {
        // The map is whole after every statement, so a panic elsewhere does not spoil it.
        self.0.lock().unwrap_or_else(|poison| poison.into_inner())
    }

    fn insert(&self, session: SessionId, queue: SendQueue) {
        self.lock().insert(session, Arc::new(queue));
    }

    /// Takes a session's queue away: waiting senders fail, what is queued still goes out.
    fn remove(&self, session: SessionId) {
        if let Some(queue) = self.lock().remove(&session) {
            queue.room.close();
        }
    }

    /// Queues a frame, waiting for room.
    pub(crate) async fn send(&self, session: SessionId, bytes: Vec<u8>) -> Result<(), SendError> {
        if bytes.len() > FRAME_BYTES_MAX {
            return Err(SendError::TooLarge { bytes: bytes.len() });
        }
        let closed = || SendError::Closed { session };
        let queue = self.lock().get(&session).cloned().ok_or_else(closed)?;
        let cost = (bytes.len() + FRAME_OVERHEAD_BYTES).min(queue.bytes_max);
        let cost = u32::try_from(cost).unwrap_or(u32::MAX);
        let room = queue.room.clone().acquire_many_owned(cost).await;
        let room = room.map_err(|_| closed())?;
        queue.frames.send(Queued { bytes, room }).map_err(|_| closed())
    }
}

impl SendQueue {
    fn new(bytes_max: usize) -> (Self, mpsc::UnboundedReceiver<Queued>) {
        let bytes_max = bytes_max.clamp(1, u32::MAX as usize);
        let (frames, queue) = mpsc::unbounded_channel();
        let queue_for_senders =
            Self { frames, room: Arc::new(Semaphore::new(bytes_max.min(Semaphore::MAX_PERMITS))), bytes_max };
        (queue_for_senders, queue)
    }
}

/// What a session's task needs.
pub(crate) struct Session {
    pub(crate) id: SessionId,
    pub(crate) peer: PeerId,
    pub(crate) remote: Address,
    pub(crate) stream: Stream,
    /// The answer to give first, if the other side opened the session.
    pub(crate) reply: Option<Reply>,
    pub(crate) queue_bytes_max: usize,
    pub(crate) registry: Registry,
    pub(crate) events: mpsc::Sender<NetEvent>,
    /// Tells the task to close.
    pub(crate) close: oneshot::Receiver<CloseReason>,
    /// Ends when the session this one replaces has said its last word.
    pub(crate) predecessor: Option<oneshot::Receiver<()>>,
    pub(crate) progress: Arc<Progress>,
}

impl Session {
    /// Runs the session to its end; false if it never opened.
    ///
    /// `closing` is called before the application hears of the end, with whether this side hung up (then the connection should go too).
    pub(crate) async fn run(mut self, closing: impl FnOnce(bool)) -> bool {
        let dialer = self.reply.is_none();
        if let Some(reply) = self.reply
            && let Err(error) = handshake::answer(&mut self.stream, reply).await
        {
            tracing::debug!(peer = %self.peer, %error, "a session's opener was gone before the answer");
            self.let_predecessor_finish().await;
            return false;
        }
        self.let_predecessor_finish().await;

        let (queue, mut queued) = SendQueue::new(self.queue_bytes_max);
        self.registry.insert(self.id, queue);
        let opened = NetEvent::SessionOpened {
            session: self.id,
            peer: self.peer,
            dialer,
            path: self.remote.path(),
            remote: self.remote.clone(),
        };
        if self.events.send(opened).await.is_err() {
            self.registry.remove(self.id);
            return false;
        }

        let (reader, mut writer) = self.stream.split();
        let mut reader = BufReader::with_capacity(CHUNK_BYTES, reader);
        let mut writing = Box::pin(write_frames(&mut writer, &mut queued, &self.progress));
        let mut told_to_close = false;
        let moving = async {
            // In turns, so that a flood in one direction does not hold up the other.
            tokio::select! {
                reason = receive(self.id, &mut reader, &self.events, &self.progress) => reason,
                written = &mut writing => match written {
                    Err(error) => lost(&error),
                    // Only this task takes the queue away, below.
                    Ok(()) => CloseReason::Shutdown,
                },
            }
        };
        let reason = tokio::select! {
            // A reason that was given comes before what it leads to.
            biased;
            reason = &mut self.close => {
                told_to_close = true;
                reason.unwrap_or(CloseReason::Shutdown)
            }
            reason = moving => reason,
        };
        self.registry.remove(self.id);

        let hang_up = match &reason {
            CloseReason::Local { .. } | CloseReason::Shutdown => {
                // What was queued goes out, then both sides say that they are done: a connection closed before would lose bytes under way.
                let farewell = async {
                    if writing.await.is_ok() {
                        drain(&mut reader).await;
                    }
                };
                let _ = timeout(CLOSE_GRACE, farewell).await;
                true
            }
            CloseReason::ClosedByPeer => {
                let _ = timeout(CLOSE_GRACE, writing).await;
                false
            }
            CloseReason::FrameTooLarge { .. } | CloseReason::FrameCut { .. } => true,
            _ => false,
        };

        closing(hang_up);
        tracing::debug!(session = %self.id, peer = %self.peer, %reason, "session closed");
        let shutdown = reason == CloseReason::Shutdown;
        let closed = NetEvent::SessionClosed { session: self.id, peer: self.peer, reason };
        if shutdown {
            // Who shuts down may not read events any more.
            let _ = self.events.try_send(closed);
            return true;
        }
        // The event is owed whatever else happens, except that a shutdown does not wait for a full channel.
        loop {
            tokio::select! {
                biased;
                permit = self.events.reserve() => {
                    if let Ok(permit) = permit {
                        permit.send(closed);
                    }
                    break;
                }
                told = &mut self.close, if !told_to_close => {
                    told_to_close = true;
                    if matches!(told, Ok(CloseReason::Shutdown) | Err(_)) {
                        break;
                    }
                }
            }
        }
        true
    }

    /// Waits until the session this one replaces has said its last word, so that the two never overlap for the application.
    async fn let_predecessor_finish(&mut self) {
        if let Some(predecessor) = self.predecessor.take() {
            // An error means that its task is gone, which is the same.
            let _ = predecessor.await;
        }
    }
}

/// Hands over frames until there are no more.
async fn receive(
    session: SessionId,
    reader: &mut BufReader<ReadHalf<Stream>>,
    events: &mpsc::Sender<NetEvent>,
    progress: &Progress,
) -> CloseReason {
    loop {
        match read_frame(reader, progress).await {
            Ok(bytes) => {
                if events.send(NetEvent::Frame { session, bytes }).await.is_err() {
                    return CloseReason::Shutdown;
                }
            }
            Err(reason) => return reason,
        }
    }
}

/// Reads to the end and forgets what came.
async fn drain(reader: &mut BufReader<ReadHalf<Stream>>) {
    let mut scratch = vec![0; CHUNK_BYTES];
    while let Ok(1..) = reader.read(&mut scratch).await {}
}
