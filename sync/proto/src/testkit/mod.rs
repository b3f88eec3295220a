//! Engines wired to stores in memory and to each other, all in one thread, with nothing random but a seed.

pub(crate) mod node;
mod puppet;
mod workspace;
mod world;

pub(crate) use node::Node;
pub(crate) use puppet::Puppet;
pub(crate) use workspace::{TestWorkspace, Writer, device};
pub(crate) use world::World;

/// Bounded pseudo-random numbers from a seed (SplitMix64).
#[derive(Debug, Clone)]
pub(crate) struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }
}
