//! Stops the build where the bundled SQLite would lack the hook that capture is made of.

/// What SQLite must be compiled with.
const FLAG: &str = "-DSQLITE_ENABLE_PREUPDATE_HOOK";

fn main() {
    println!("cargo::rerun-if-env-changed=LIBSQLITE3_FLAGS");
    println!("cargo::rerun-if-changed=build.rs");
    let flags = std::env::var("LIBSQLITE3_FLAGS").unwrap_or_default();
    // libsqlite3-sys takes the name with and without `-D`, and with a value.
    let name = FLAG.trim_start_matches("-D");
    let is_set = flags.split_whitespace().any(|flag| {
        let flag = flag.trim_start_matches("-D");
        flag == name || flag.strip_prefix(name).is_some_and(|rest| rest.starts_with('='))
    });
    if !is_set {
        println!(
            "cargo::error=the bundled SQLite lacks the preupdate hook: set the environment variable LIBSQLITE3_FLAGS=\"{FLAG}\" \
             (in the shell, or under [env] in .cargo/config.toml) and build again."
        );
    }
}
