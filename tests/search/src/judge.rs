//! One judge for all arms: distances are computed here from the embeddings, whatever an arm says of them.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::Args;
use kithdb_vector::index::Neighbour;
use kithdb_vector::recall::recall;
use kithdb_vector::slots::Slot;

use crate::data::{self, COUNT};
use crate::npy;

/// Answers to judge.
#[derive(Args)]
pub struct Judge {
    /// The folder of the set.
    #[arg(long)]
    set: PathBuf,
    /// Thousandths of the rows that might be returned.
    #[arg(long, default_value_t = 1_000)]
    filter: u32,
    /// What an arm wrote.
    answers: PathBuf,
}

impl Judge {
    /// Prints the mean recall.
    pub fn run(&self) -> Result<()> {
        let base = npy::read_floats(&self.set.join("base.npy"))?;
        let queries = npy::read_floats(&self.set.join("queries.npy"))?;
        let truth = npy::read_integers(&self.set.join(format!("truth_{}.npy", self.filter)))?;
        let allowed = data::allowed(base.height(), self.filter);
        let bytes = fs::read(&self.answers).with_context(|| format!("could not read {}", self.answers.display()))?;
        let answers: Vec<i32> = bytes.as_chunks().0.iter().map(|&bytes| i32::from_le_bytes(bytes)).collect();
        let asked = answers.len() / COUNT;
        ensure!(asked > 0 && asked <= queries.height(), "{} holds no answers", self.answers.display());
        let neighbours = |embedding: &[f32], slots: &[i32]| -> Result<Vec<Neighbour>> {
            let present = slots.iter().filter(|&&slot| slot >= 0);
            present
                .map(|&slot| {
                    let slot = Slot(u32::try_from(slot)?);
                    ensure!(allowed.contains(slot), "an answer holds row {}, which the filter forbids", slot.0);
                    let row = base.row(slot.0 as usize);
                    let product: f64 =
                        row.iter().zip(embedding).map(|(&left, &right)| f64::from(left) * f64::from(right)).sum();
                    Ok(Neighbour { slot, distance: (1.0 - product) as f32 })
                })
                .collect()
        };
        let mut sum = 0.0;
        for (position, (embedding, slots)) in queries.rows().zip(answers.chunks_exact(COUNT)).enumerate() {
            let mut truth = neighbours(embedding, truth.row(position))?;
            // Where fewer are allowed than are asked for, the truth was filled up with its last.
            truth.dedup_by_key(|found| found.slot);
            sum += recall(&truth, &neighbours(embedding, slots)?, COUNT);
        }
        println!("recall {:.4}", sum / asked as f64);
        Ok(())
    }
}
