//! `crash-writer FILE SEED SEAL_PERCENT`: writes numbered transactions until it is killed, and says what is committed and sealed.
//!
//! What it says on standard output, in binary: `C` and the number of a committed transaction (8 bytes, little-endian); `E`, a
//! length (4 bytes) and a sealed entry.

use std::collections::BTreeMap;
use std::io::Write;

use anyhow::{Context, Result};
use kithdb_core::replica::{OpenOptions, Replica};
use kithdb_core::seal::SealBudget;
use kithdb_tests::numbered;
use kithdb_tests::random::Random;

const BYTES_PER_LOAD: usize = 1 << 20;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().context("the first argument is the file")?;
    let mut random = Random::new(arguments.next().context("the second argument is the seed")?.parse()?);
    let seal_percent: usize = arguments.next().context("the third argument is a percentage")?.parse()?;
    let mut replica = Replica::open(path, OpenOptions::default())?;
    let mut published: BTreeMap<_, _> =
        replica.sync_state()?.streams.into_iter().map(|stream| (stream.id, stream.height)).collect();
    let mut n = numbered::last_whole(replica.conn()).map_err(anyhow::Error::msg)?;
    let mut out = std::io::stdout().lock();
    loop {
        n += 1;
        numbered::write(&mut replica, n, numbered::ROWS_MAX, &mut random)?;
        out.write_all(&[b"C".as_slice(), &n.to_le_bytes()].concat())?;
        out.flush()?;
        if !random.percent(seal_percent) {
            continue;
        }
        for head in replica.seal(SealBudget::default())?.heads {
            let height = published.entry(head.id).or_default();
            while *height < head.height {
                for entry in replica.load_entries(&head.id, height.next(), BYTES_PER_LOAD)? {
                    let bytes = entry.encode();
                    let length = u32::try_from(bytes.len())?;
                    out.write_all(&[b"E".as_slice(), &length.to_le_bytes(), &bytes].concat())?;
                    *height = entry.header.sequence;
                }
            }
        }
        out.flush()?;
    }
}
