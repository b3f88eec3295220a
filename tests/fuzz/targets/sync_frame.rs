//! Sync frames: one encoding each, and no sequence of them harms an engine or gets an unverified entry stored.
//!
//! The first byte says how far the session has come before the frames are fed: 0 opened, 1 proven, 2 met.
#![no_main]

use std::collections::VecDeque;

use kithdb_log::codec::Reader;
use kithdb_log::ids::HelloNonce;
use kithdb_log::*;
use kithdb_sync::{Engine, EngineConfig, Frame, Input, Now, Output, SessionId, StoreOutcome};

const NOW: Now = Now { unix_ms: 1_800_000_000_000, elapsed_ms: 1000 };
const SESSION: SessionId = SessionId(1);

/// Two replicas of one device are enough: both are members.
fn engine(number: u8) -> Engine {
    let keys = DeviceKeys::from_seeds([1; 32], [2; 32], [3; 32]);
    let epoch = EpochSecret::from_bytes([4; 32]).id();
    let genesis = AdminOperation::genesis(&keys, epoch, [5; 32], "desk", NOW.unix_ms).expect("the name is fine");
    let membership = Membership::from_genesis(genesis.workspace_id(), genesis).expect("the genesis holds");
    Engine::new(EngineConfig {
        keys,
        membership,
        replica: ReplicaId::from_bytes([number; 16]),
        incarnation: IncarnationId::from_bytes([number; 16]),
        arrival: ArrivalNumber::new(0),
        streams: vec![],
    })
}

/// Gives an engine an input, answers what it asks, and returns the frames it sends.
fn feed(engine: &mut Engine, input: Input) -> Vec<Vec<u8>> {
    let workspace = engine.membership().workspace();
    let mut frames = Vec::new();
    let mut inputs = VecDeque::from([input]);
    while let Some(input) = inputs.pop_front() {
        for output in engine.handle(input, NOW) {
            match output {
                Output::Send { frame, .. } => frames.push(frame),
                Output::Recall { session, .. } => {
                    inputs.push_back(Input::Recalled { session, remembered: ArrivalNumber::new(0) });
                }
                Output::LoadChanges { request, .. } => inputs.push_back(Input::Changes { request, streams: vec![] }),
                Output::Load { request, .. } => inputs.push_back(Input::Loaded { request, entries: vec![] }),
                Output::Store { request, entries } => {
                    entries.iter().for_each(|entry| entry.verify(workspace).expect("only what holds is stored"));
                    let outcomes = vec![StoreOutcome::Stored; entries.len()];
                    inputs.push_back(Input::StoreDone { request, arrival: ArrivalNumber::new(1), outcomes });
                }
                Output::StoreAdmin { request, .. } => inputs.push_back(Input::AdminStored { request }),
                _ => {}
            }
        }
    }
    frames
}

fn peer_up(dialer: bool) -> Input {
    let (local_transport, remote_transport) = (vec![u8::from(dialer)], vec![u8::from(!dialer)]);
    let nonce = HelloNonce::from_bytes([u8::from(dialer); 32]);
    Input::PeerUp { session: SESSION, dialer, local_transport, remote_transport, nonce }
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((&stage, rest)) = bytes.split_first() else { return };
    let (mut ours, mut theirs) = (engine(1), engine(2));
    feed(&mut ours, peer_up(false));
    let mut to_ours: VecDeque<_> = feed(&mut theirs, peer_up(true)).into();
    // Hello and proof are two frames of the dialler, the summary is the third.
    for _ in 0..[0, 2, 3][usize::from(stage % 3)] {
        let Some(bytes) = to_ours.pop_front() else { break };
        for bytes in feed(&mut ours, Input::Frame { session: SESSION, bytes }) {
            to_ours.extend(feed(&mut theirs, Input::Frame { session: SESSION, bytes }));
        }
    }
    let mut reader = Reader::new(rest);
    while let Ok(frame) = reader.bytes(1 << 20, "frame") {
        if let Ok(decoded) = Frame::decode(frame) {
            assert_eq!(decoded.encode(), frame);
        }
        feed(&mut ours, Input::Frame { session: SESSION, bytes: frame.to_vec() });
    }
    feed(&mut ours, Input::Timer);
    feed(&mut ours, Input::PeerDown { session: SESSION });
});
