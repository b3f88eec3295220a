//! What `kith demo` is made of.

pub mod wordnet;

pub fn run(_: &crate::cli::Demo, _: crate::report::Output) -> anyhow::Result<std::process::ExitCode> { Ok(std::process::ExitCode::SUCCESS) }
