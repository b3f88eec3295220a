//! sync/proto
