//! A small seeded generator of random numbers, so that every run can be run again.

/// SplitMix64: equal seeds give equal sequences, on every machine.
#[derive(Debug, Clone)]
pub struct Random {
    state: u64,
}

impl Random {
    /// Starts the sequence of a seed.
    pub const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// Returns the next 64 bits.
    pub const fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number below `bound`, which must not be 0.
    pub const fn below(&mut self, bound: usize) -> usize {
        (self.bits() % bound as u64) as usize
    }

    /// Returns a number from `low` to `high`, both included.
    pub const fn between(&mut self, low: usize, high: usize) -> usize {
        low + self.below(high - low + 1)
    }

    /// Says yes so many times in a hundred.
    pub const fn percent(&mut self, chance: usize) -> bool {
        self.below(100) < chance
    }

    /// Picks one of several, of which there must be at least one.
    pub fn pick<'a, T>(&mut self, among: &'a [T]) -> &'a T {
        &among[self.below(among.len())]
    }
}

/// Reads a number from the environment, for seeds and counts of a run.
pub fn number_from_env(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.trim().parse().unwrap_or_else(|_| panic!("{name} must be a number, but is {text:?}")))
}

/// Takes the seed from the environment, or that of the commit.
pub fn seed_from_env(name: &str) -> u64 {
    number_from_env(name).unwrap_or_else(seed_of_commit)
}

/// Derives a seed from the commit that is checked out, 1 outside of a repository: every commit tries something new, and trying a
/// commit again tries the same.
pub fn seed_of_commit() -> u64 {
    // In the folder of the package, which tests are run in; that of the build may be another clone's, where clones share what they build.
    let git = std::process::Command::new("git").args(["rev-parse", "HEAD"]).output();
    let digits = git.ok().filter(|output| output.status.success()).and_then(|output| {
        let text = String::from_utf8(output.stdout).ok()?;
        u64::from_str_radix(text.get(..12)?, 16).ok()
    });
    digits.unwrap_or(1)
}

/// Lists `count` seeds: one half always the same, one half those of the commit.
pub fn seeds(count: u64) -> impl Iterator<Item = u64> {
    let commit = seed_of_commit();
    println!("{count} seeds: from 1, and from {commit} on");
    (1..=count.div_ceil(2)).chain(commit..commit + count / 2)
}
