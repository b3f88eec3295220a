//! sync/net
