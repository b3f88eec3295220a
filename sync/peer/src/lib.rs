//! sync/peer
