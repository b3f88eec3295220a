//! Frames on a stream: a little-endian u32 length, then that many bytes.
//!
//! Invariants:
//! 1. A length over [`FRAME_BYTES_MAX`] is refused before anything is allocated, and memory follows the bytes that came, not the bytes announced.
//! 2. Frames leave in the order they were queued; nothing waits for more to come.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use crate::event::CloseReason;
use crate::limits::{CHUNK_BYTES, FRAME_BYTES_MAX};

/// Counts bytes moved, so that a busy session is told from a dead one.
#[derive(Default)]
pub(crate) struct Progress(AtomicU64);

impl Progress {
    fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A frame that waits to be sent, and the room it takes.
pub(crate) struct Queued {
    pub(crate) bytes: Vec<u8>,
    pub(crate) room: OwnedSemaphorePermit,
}

/// Reads one frame; an end between frames or in one comes back as the reason to close.
pub(crate) async fn read_frame(
    stream: &mut (impl AsyncRead + Unpin),
    progress: &Progress,
) -> Result<Vec<u8>, CloseReason> {
    let mut header = [0; 4];
    let mut filled = 0;
    while filled < header.len() {
        match stream.read(&mut header[filled..]).await {
            Ok(0) if filled == 0 => return Err(CloseReason::ClosedByPeer),
            Ok(0) => {
                return Err(CloseReason::FrameCut { expected_bytes: 0, received_bytes: 0 });
            }
            Ok(count) => filled += count,
            Err(error) => return Err(lost(&error)),
        }
    }
    progress.add(header.len());

    let announced = u32::from_le_bytes(header);
    let length = announced as usize;
    if length > FRAME_BYTES_MAX {
        return Err(CloseReason::FrameTooLarge { bytes: announced });
    }
    let mut frame = Vec::new();
    let mut filled = 0;
    while filled < length {
        if filled == frame.len() {
            let next = (frame.len() * 2).max(CHUNK_BYTES).min(length);
            frame.reserve_exact(next - frame.len());
            frame.resize(next, 0);
        }
        match stream.read(&mut frame[filled..]).await {
            Ok(0) => {
                return Err(CloseReason::FrameCut { expected_bytes: announced, received_bytes: filled as u32 });
            }
            Ok(count) => {
                filled += count;
                progress.add(count);
            }
            Err(error) => return Err(lost(&error)),
        }
    }
    Ok(frame)
}

/// Writes frames until the queue is closed and empty, then ends the stream.
pub(crate) async fn write_frames(
    stream: &mut (impl AsyncWrite + Unpin),
    queue: &mut mpsc::UnboundedReceiver<Queued>,
    progress: &Progress,
) -> io::Result<()> {
    let mut batch = Vec::new();
    while let Some(first) = queue.recv().await {
        let mut next = Some(first);
        // What is queued by now goes out together; nothing waits for frames that are not there yet.
        while let Some(Queued { bytes, room }) = next {
            let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
            batch.extend_from_slice(&length.to_le_bytes());
            if batch.len() + bytes.len() > CHUNK_BYTES {
                write_counted(stream, &batch, progress).await?;
                batch.clear();
                write_counted(stream, &bytes, progress).await?;
            } else {
                batch.extend_from_slice(&bytes);
            }
            drop(room);
            next = queue.try_recv().ok();
        }
        write_counted(stream, &batch, progress).await?;
        batch.clear();
        stream.flush().await?;
    }
    stream.close().await
}

async fn write_counted(
    stream: &mut (impl AsyncWrite + Unpin),
    mut bytes: &[u8],
    progress: &Progress,
) -> io::Result<()> {
    while !bytes.is_empty() {
        let count = stream.write(bytes).await?;
        if count == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        progress.add(count);
        bytes = &bytes[count..];
    }
    Ok(())
}

/// Names an I/O error as the reason a session ended.
pub(crate) fn lost(error: &io::Error) -> CloseReason {
    CloseReason::Lost { reason: crate::error::root_cause(error) }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures::executor::block_on;
    use futures::io::Cursor;
    use tokio::sync::Semaphore;

    use super::*;

    fn read_all(bytes: &[u8]) -> (Vec<Vec<u8>>, CloseReason) {
        let mut stream = Cursor::new(bytes.to_vec());
        let progress = Progress::default();
        let mut frames = Vec::new();
        loop {
            match block_on(read_frame(&mut stream, &progress)) {
                Ok(frame) => frames.push(frame),
                Err(reason) => return (frames, reason),
            }
        }
    }

    fn written(frames: &[Vec<u8>]) -> Vec<u8> {
        let room = Arc::new(Semaphore::new(100));
        let (sender, mut queue) = mpsc::unbounded_channel();
        for bytes in frames {
            let queued = Queued { bytes: bytes.clone(), room: room.clone().try_acquire_owned().unwrap() };
            assert!(sender.send(queued).is_ok());
        }
        drop(sender);
        let mut stream = Cursor::new(Vec::new());
        block_on(write_frames(&mut stream, &mut queue, &Progress::default())).unwrap();
        assert_eq!(room.available_permits(), 100, "room is given back");
        stream.into_inner()
    }

    #[test]
    fn frames_of_every_size_come_back_in_order() {
        let sizes = [0, 1, 3, CHUNK_BYTES - 4, CHUNK_BYTES, CHUNK_BYTES + 1, 0, FRAME_BYTES_MAX, 5];
        let frames: Vec<Vec<u8>> = sizes.iter().enumerate().map(|(n, size)| vec![n as u8; *size]).collect();
        let (read, reason) = read_all(&written(&frames));
        assert!(read == frames);
        assert_eq!(reason, CloseReason::ClosedByPeer);
    }

    #[test]
    fn length_over_the_limit_is_refused() {
        let too_large = FRAME_BYTES_MAX as u32 + 1;
        for bytes in [too_large, u32::MAX] {
            let (frames, reason) = read_all(&bytes.to_le_bytes());
            assert!(frames.is_empty());
            assert_eq!(reason, CloseReason::FrameTooLarge { bytes });
        }
    }

    #[test]
    fn end_inside_a_frame_is_named() {
        let mut wire = written(&[vec![1; 10]]);
        wire.extend_from_slice(&100u32.to_le_bytes());
        wire.extend_from_slice(&[2; 30]);
        let (frames, reason) = read_all(&wire);
        assert_eq!(frames.len(), 1);
        assert_eq!(reason, CloseReason::FrameCut { expected_bytes: 100, received_bytes: 30 });
        assert!(matches!(read_all(&[1, 2]).1, CloseReason::FrameCut { .. }));
    }

    #[test]
    fn announced_bytes_that_never_come_are_not_allocated() {
        struct OneByteThenStall(bool);
        impl AsyncRead for OneByteThenStall {
            fn poll_read(
                mut self: std::pin::Pin<&mut Self>,
                _: &mut std::task::Context<'_>,
                buffer: &mut [u8],
            ) -> std::task::Poll<io::Result<usize>> {
                // The reader offers its whole free space: that is what it has allocated.
                assert!(buffer.len() <= CHUNK_BYTES, "{} bytes ahead", buffer.len());
                if buffer.len() == 4 && !self.0 {
                    self.0 = true;
                    buffer.copy_from_slice(&(FRAME_BYTES_MAX as u32).to_le_bytes());
                    return std::task::Poll::Ready(Ok(4));
                }
                std::task::Poll::Ready(Ok(0))
            }
        }
        let reason = block_on(read_frame(&mut OneByteThenStall(false), &Progress::default()));
        assert!(matches!(reason, Err(CloseReason::FrameCut { .. })));
    }
}
