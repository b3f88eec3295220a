//! Tests of whole sessions.

mod admin;
mod frames;
mod hostile;
mod joining;
mod limits;
mod meeting;
mod own;
mod random;
mod stranger;
