//! What `kith demo` is made of.

pub mod wordnet;
