//! Tests of capture as a whole: what SQL did must be what `kith__pending` says, and nothing else may show.

mod facts;
mod harness;
mod invisible;
mod random;
mod retry;
