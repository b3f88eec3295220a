//! Frames: every one comes back from its bytes, and no bytes do harm.

use kithdb_log::ids::{HelloNonce, WorkspaceTag};
use kithdb_log::*;
use proptest::prelude::*;

use crate::testkit::{Puppet, Rng, World, device};
use crate::types::{CloseCode, Digest, JoinFault};
use crate::{Frame, StreamHead, WantId};

fn ids() -> impl Strategy<Value = StreamId> {
    any::<([u8; 32], [u8; 16], [u8; 32])>().prop_map(|(author, incarnation, lane)| StreamId {
        author: AuthorId::from_bytes(author),
        incarnation: IncarnationId::from_bytes(incarnation),
        lane: LaneId::from_bytes(lane),
    })
}

/// What the fields of a frame are made from.
struct Fields {
    bytes: [u8; 32],
    stream: StreamId,
    numbers: (u64, u64),
    flag: bool,
    lists: Vec<Vec<u8>>,
}

const KINDS: u8 = 17;

/// Encodes a frame of a kind and checks that it comes back.
fn encode(kind: u8, fields: &Fields) -> Vec<u8> {
    let Fields { bytes, stream, numbers: (left, right), flag, ref lists } = *fields;
    let (arrival, digest) = (ArrivalNumber::new(left), Digest::from_bytes(bytes));
    let slices: Vec<&[u8]> = lists.iter().map(Vec::as_slice).collect();
    let frame = match kind {
        0 => Frame::Hello { nonce: HelloNonce::from_bytes(bytes), tag: WorkspaceTag::from_bytes(bytes) },
        1 => Frame::Proof {
            author: stream.author,
            replica: ReplicaId::from_bytes([kind; 16]),
            signature: Signature::from_bytes([kind; 64]),
        },
        2 => Frame::AskAdmin { frontier: vec![AdminHash::from_bytes(bytes); lists.len()] },
        3 => Frame::Admin { last: flag, operations: slices },
        4 => Frame::Summary { arrival, digest, remembered: ArrivalNumber::new(right) },
        5 => {
            let head =
                StreamHead { id: stream, height: SequenceNumber::new(right), head: EntryHash::from_bytes(bytes) };
            Frame::Have { arrival, complete: flag, heads: vec![head; lists.len()] }
        }
        6 => Frame::Caught { arrival, digest },
        7 => Frame::Want { id: WantId(left), stream, from: SequenceNumber::new(right), credit: left },
        8 => Frame::Cancel { id: WantId(left) },
        9 => Frame::Credit { bytes: left },
        10 => Frame::Data { id: WantId(left), offset: right, bytes: &bytes },
        11 => Frame::End { id: WantId(left), next: SequenceNumber::new(right) },
        12 => Frame::Push { arrival, entries: slices },
        13 => {
            let secret = InviteSecret::from_bytes(bytes);
            let request = secret.request(WorkspaceId::from_bytes(bytes), &device(kind), "a name");
            Frame::Join(request.expect("the name is fine"))
        }
        14 => Frame::Joined,
        15 => Frame::JoinRefused { fault: JoinFault::Used },
        _ => Frame::Close { code: CloseCode::Busy },
    };
    let encoded = frame.encode();
    assert_eq!(Frame::decode(&encoded).as_ref(), Ok(&frame));
    encoded
}

/// Encodes a frame of a random kind with random fields.
fn frame_bytes() -> impl Strategy<Value = Vec<u8>> {
    let fields =
        (any::<[u8; 32]>(), ids(), any::<((u64, u64), bool)>(), proptest::collection::vec(any::<Vec<u8>>(), 0..4));
    (0..KINDS, fields).prop_map(|(kind, (bytes, stream, (numbers, flag), lists))| {
        encode(kind, &Fields { bytes, stream, numbers, flag, lists })
    })
}

/// The fuzzer starts from these, and a change that old peers could not read shows here first.
#[test]
fn kept_samples_of_every_frame_still_hold() {
    let folder = std::path::Path::new("../../tests/fuzz/seeds/sync_frame");
    let stream = StreamId {
        author: AuthorId::from_bytes([1; 32]),
        incarnation: IncarnationId::from_bytes([2; 16]),
        lane: LaneId::from_bytes([3; 32]),
    };
    let lists = vec![b"one".to_vec(), b"another".to_vec()];
    let fields = Fields { bytes: [4; 32], stream, numbers: (1, 300), flag: true, lists };
    for kind in 0..KINDS {
        let mut made = vec![kind % 3];
        codec::put_bytes(&mut made, &encode(kind, &fields));
        let path = folder.join(format!("kind-{:02}", kind + 1));
        if std::env::var_os("KITHDB_WRITE_SEEDS").is_some() {
            std::fs::create_dir_all(folder).unwrap();
            std::fs::write(&path, &made).unwrap();
        }
        let kept = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(kept, made, "the format of frame kind {} has changed", kind + 1);
    }
}

#[test]
fn largest_frames_fit() {
    let stream = StreamId {
        author: AuthorId::from_bytes([1; 32]),
        incarnation: IncarnationId::from_bytes([1; 16]),
        lane: LaneId::from_bytes([1; 32]),
    };
    let head = StreamHead { id: stream, height: SequenceNumber::new(u64::MAX), head: EntryHash::from_bytes([1; 32]) };
    let arrival = ArrivalNumber::new(u64::MAX);
    let have = Frame::Have { arrival, complete: true, heads: vec![head; crate::limits::HEADS_MAX] };
    let chunk = vec![7; crate::limits::CHUNK_BYTES_MAX];
    let data = Frame::Data { id: WantId(u64::MAX), offset: u64::MAX, bytes: &chunk };
    for frame in [have, data] {
        assert_eq!(Frame::decode(&frame.encode()), Ok(frame));
    }
}

proptest! {
    #[test]
    fn frames_have_one_encoding(bytes in frame_bytes(), at: prop::sample::Index, flip in 0u8..8) {
        let mut changed = bytes.clone();
        let at = at.index(changed.len());
        changed[at] ^= 1 << flip;
        // What decodes at all encodes to the very same bytes.
        if let Ok(frame) = Frame::decode(&changed) {
            prop_assert_eq!(frame.encode(), changed);
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes: Vec<u8>) {
        let _ = Frame::decode(&bytes);
        let _ = Frame::decode(&[&[1][..], &bytes].concat());
    }

    #[test]
    fn any_frames_in_any_state_do_no_harm(
        stage in 0u8..4,
        frames in proptest::collection::vec(frame_bytes(), 1..20),
        raw in proptest::collection::vec(any::<Vec<u8>>(), 0..3),
    ) {
        let mut world = World::new(2);
        let keys = world.nodes[1].keys.clone();
        world.write(0, 0, b"x");
        let mut puppet = Puppet::connect(&mut world, 0, 1);
        match stage {
            0 => {}
            1 => puppet.hello(&mut world),
            2 => puppet.prove(&mut world, &keys),
            _ => puppet.meet(&mut world, &keys),
        }
        for bytes in frames.into_iter().chain(raw) {
            puppet.send_bytes(&mut world, bytes);
        }
        prop_assert_eq!(world.nodes[0].store.stores, 0);
        // The process lives: an honest peer syncs.
        world.write(1, 0, b"y");
        world.connect(1, 0);
        world.run();
        world.assert_equal(&[0, 1]);
    }

    #[test]
    fn mutated_traffic_stores_nothing_unverified(seed: u64) {
        let mut rng = Rng(seed);
        let mut world = World::new(2);
        for _ in 0..4 {
            let (node, lane, len) = (rng.below(2), rng.below(3) as u8, rng.below(100_000));
            let payload = rng.bytes(len);
            world.write(node, lane, &payload);
        }
        let link = world.connect(0, 1);
        for _ in 0..200 {
            let deliverable = world.deliverable();
            if deliverable.is_empty() {
                break;
            }
            let (link, end) = deliverable[rng.below(deliverable.len())];
            if rng.below(6) == 0 {
                world.mutate(link, end, &mut rng);
            } else {
                world.deliver(link, end);
            }
        }
        // The store asserts that every entry holds and continues its stream. After the attack an honest channel heals all.
        world.cut(link);
        world.connect(1, 0);
        world.pass(120_000);
        world.assert_equal(&[0, 1]);
    }
}
