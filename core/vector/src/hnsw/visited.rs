//! Which points a walk has seen: one byte each, the number of the walk, so that a new walk need not clear them.

use std::sync::{Mutex, PoisonError};

#[derive(Default)]
pub(super) struct Visited {
    epoch: u8,
    marks: Vec<u8>,
}

impl Visited {
    /// Begins a walk over so many points.
    fn begin(&mut self, points: usize) {
        if self.marks.len() < points {
            self.marks.resize(points, 0);
        }
        self.epoch = self.epoch.wrapping_add(1);
        if self.epoch == 0 {
            self.marks.fill(0);
            self.epoch = 1;
        }
    }

    /// Marks a point; says whether it was new.
    pub fn insert(&mut self, point: u32) -> bool {
        let mark = &mut self.marks[point as usize];
        std::mem::replace(mark, self.epoch) != self.epoch
    }
}

/// What a walk needs besides the graph; kept for the next one.
#[derive(Default)]
pub(super) struct Scratch {
    pub visited: Visited,
    pub fresh: Vec<u32>,
    pub pool: super::pool::Pool,
    pub keys: Vec<u64>,
    pub chosen: Vec<u64>,
    pub ids: Vec<u32>,
}

impl Scratch {
    /// Forgets what was visited.
    pub fn begin(&mut self, points: usize) {
        self.visited.begin(points);
    }
}

/// Scratches that no walk uses now; as many as there were walks at once.
#[derive(Default)]
pub(super) struct Scratches(Mutex<Vec<Scratch>>);

impl Scratches {
    /// Runs with a scratch of its own.
    pub fn with<R>(&self, run: impl FnOnce(&mut Scratch) -> R) -> R {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut scratch = kept.unwrap_or_default();
        let result = run(&mut scratch);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(scratch);
        result
    }

    pub fn bytes(&self) -> usize {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .map(|scratch| scratch.visited.marks.capacity())
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn walk_begins_unvisited_after_the_epochs_wrapped() {
        let mut visited = Visited::default();
        for _ in 0..600 {
            visited.begin(3);
            assert!(visited.insert(2));
            assert!(!visited.insert(2));
        }
    }
}
