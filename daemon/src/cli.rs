//! What can be typed: every command with its arguments, its help and one example that pastes.

pub mod graph;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell;
use kithdb_peer::Address;

use crate::human;
use crate::render::Mode;

/// The longest line of a help text.
const HELP_WIDTH: usize = 100;

const EXAMPLES: &str = "\
Examples:
  kith demo
  kith init notes.db
  kith sql notes.db \"SELECT kith_version()\"";

const TEMPLATE: &str = "\
{about}

{before-help}{usage-heading} {usage}

{all-args}{after-help}
";

const COMMAND_TEMPLATE: &str = "\
{about}

{before-help}{usage-heading} {usage}

{all-args}{after-help}
";

/// KithDB: an SQLite database that syncs from device to device, encrypted, without a server.
#[derive(Debug, Parser)]
#[command(
    name = "kith",
    version,
    help_template = TEMPLATE,
    before_help = EXAMPLES,
    max_term_width = HELP_WIDTH,
    after_help = "`kith COMMAND --help` has an example for each command. Exit codes: 0 done, 1 failed, 2 wrong usage."
)]
pub struct Arguments {
    /// Print JSON instead of text.
    #[arg(long, global = true)]
    pub json: bool,

    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a new or a plain SQLite file a database that can sync.
    ///
    /// Its tables stay as they are; `SELECT kith_sync('table')` then names those that take part.
    /// Two files appear beside it: FILE-kith-key, the device's secret keys, and FILE-kith-life,
    /// which tells the file from its copies.
    #[command(help_template = COMMAND_TEMPLATE, before_help = "Example:\n  kith init notes.db --name laptop")]
    Init(Init),

    /// Run SQL: one statement, several, or a shell.
    ///
    /// Without SQL it reads statements from standard input; on a terminal it is a shell with history,
    /// where `.help` lists what else it knows.
    #[command(help_template = COMMAND_TEMPLATE, before_help = "Example:\n  kith sql notes.db \"SELECT kith_sync('notes')\"")]
    Sql(Sql),

    /// Find the rows of a table that fit a text best.
    ///
    /// `SELECT kith_text('notes', 'title,body')` makes the index first. Words in double quotes are a
    /// phrase, `begin*` finds every word that begins so.
    #[command(help_template = COMMAND_TEMPLATE, before_help = "Example:\n  kith search notes.db notes \"red wine\" -k 5")]
    Search(Search),

    /// Embed the texts of rows that wait for it.
    ///
    /// A table made with `kith_vector(content=docs, column=embedding, source=body, model=lexical-1)` has
    /// its rows embedded in the background by whatever program of KithDB's uses it; this embeds what
    /// waits now. Stopped, it goes on where it was.
    #[command(help_template = COMMAND_TEMPLATE, before_help = "Example:\n  kith embed notes.db note_vectors")]
    Embed(Embed),

    /// Make a ticket that lets one device join.
    ///
    /// The ticket is a secret until it is used or expires: who has it can join, once.
    #[command(help_template = COMMAND_TEMPLATE, before_help = "Example:\n  kith invite notes.db --role writer --expires 1d")]
    Invite(Invite),

    /// Join a workspace with a ticket.
    ///
    /// An owner must be online (`kith sync` on the inviting side). The tables arrive with `kith sync`.
    #[command(help_template = COMMAND_TEMPLATE, before_help = "Example:\n  kith join other.db \"$(cat ticket.txt)\" --name phone")]
    Join(Join),

    /// List the devices of the workspace.
    #[command(help_template = COMMAND_TEMPLATE, before_help = "Example:\n  kith members notes.db")]
    Members(File),

    /// Sync with other devices until stopped with Ctrl-C.
    ///
    /// Finds them on the local network by mDNS, or at the addresses given. Other programs may use the
    /// file meanwhile; what `kith sql` writes is sent at once.
    #[command(help_template = COMMAND_TEMPLATE, before_help = "Example:\n  kith sync notes.db")]
    Sync(Sync),

    /// Say what the file holds and what waits.
    #[command(help_template = COMMAND_TEMPLATE, before_help = "Example:\n  kith status notes.db")]
    Status(File),

    /// List the newest entries of the log: who wrote them, when, and what became of them.
    #[command(help_template = COMMAND_TEMPLATE, before_help = "Example:\n  kith log notes.db -n 5")]
    Log(Log),

    /// List rows that are kept out of their table, and why.
    #[command(help_template = COMMAND_TEMPLATE, before_help = "Example:\n  kith conflicts notes.db")]
    Conflicts(File),

    /// List the replicas that this file has synced with.
    #[command(help_template = COMMAND_TEMPLATE, before_help = "Example:\n  kith peers notes.db")]
    Peers(File),

    /// Check that tables, metadata and log agree, and that no signature is wrong.
    #[command(help_template = COMMAND_TEMPLATE, before_help = "Example:\n  kith verify notes.db")]
    Verify(Verify),

    /// Ask about a graph over tables: what is reached, neighbours, paths, components, ranks.
    ///
    /// A graph is declared over any edge table, or found in foreign keys. Options that are not listed
    /// here go into --options, as the SQL functions take them.
    #[command(help_template = COMMAND_TEMPLATE, before_help = "Example:\n  kith graph notes.db traverse social 42 --depth 3 --type knows")]
    Graph(graph::Graph),

    /// Check what sync needs on this machine, and the files of a database.
    #[command(help_template = COMMAND_TEMPLATE, before_help = "Example:\n  kith doctor notes.db")]
    Doctor(Doctor),

    /// Show it: two peers as two processes write apart, sync, and are compared row by row.
    ///
    /// Uses the dictionary WordNet, or a copy of a database of yours.
    #[command(help_template = COMMAND_TEMPLATE, before_help = "Example:\n  kith demo")]
    Demo(Demo),

    /// Print a completion script for a shell.
    #[command(help_template = COMMAND_TEMPLATE, before_help = "Example:\n  kith completions bash > kith.bash")]
    Completions(Completions),
}

impl Command {
    /// Returns the database file that the command is about.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::Init(arguments) => Some(&arguments.file),
            Self::Sql(arguments) => Some(&arguments.file),
            Self::Search(arguments) => Some(&arguments.file),
            Self::Embed(arguments) => Some(&arguments.file),
            Self::Invite(arguments) => Some(&arguments.file),
            Self::Join(arguments) => Some(&arguments.file),
            Self::Sync(arguments) => Some(&arguments.file),
            Self::Log(arguments) => Some(&arguments.file),
            Self::Graph(arguments) => Some(&arguments.file),
            Self::Doctor(arguments) => arguments.file.as_deref(),
            Self::Members(arguments)
            | Self::Status(arguments)
            | Self::Conflicts(arguments)
            | Self::Peers(arguments) => Some(&arguments.file),
            Self::Verify(arguments) => Some(&arguments.file),
            Self::Demo(_) | Self::Completions(_) => None,
        }
    }
}

/// A command that takes a database and nothing else.
#[derive(Debug, Args)]
pub struct File {
    /// The database file.
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
}

/// `kith verify`.
#[derive(Debug, Args)]
pub struct Verify {
    /// The database file.
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// Put rows that another program changed back to what the log says, and tell what they were.
    #[arg(long)]
    pub repair: bool,
}

/// `kith init`.
#[derive(Debug, Args)]
pub struct Init {
    /// The database file; made if it is not there.
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: PathBuf,

    /// The name by which people know this device [default: the machine's name].
    #[arg(long, value_name = "DEVICE")]
    pub name: Option<String>,
}

/// `kith sql`.
#[derive(Debug, Args)]
pub struct Sql {
    /// The database file, of a workspace or plain SQLite.
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: PathBuf,

    /// One or several statements.
    pub sql: Option<String>,

    /// How rows are printed; --json is the same as --mode json.
    #[arg(long, value_enum, default_value_t = Mode::Table)]
    pub mode: Mode,
}

/// `kith search`.
#[derive(Debug, Args)]
pub struct Search {
    /// The database file, of a workspace or plain SQLite.
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: PathBuf,

    /// The table.
    pub table: String,

    /// What to look for.
    pub text: String,

    /// How many rows at most.
    #[arg(short = 'k', long, value_name = "N", default_value_t = 10)]
    pub rows: u32,

    /// Find values of this column that are written much like the text.
    #[arg(long, value_name = "COLUMN")]
    pub fuzzy: Option<String>,

    /// Rank by text and embedding together.
    #[arg(long, conflicts_with = "fuzzy")]
    pub hybrid: bool,

    /// The model that made the embeddings, where no kith_vector table declares it and they are not by kith_embed without a model.
    #[arg(long, value_name = "MODEL", requires = "hybrid")]
    pub model: Option<String>,
}

/// `kith embed`.
#[derive(Debug, Args)]
pub struct Embed {
    /// The database file, of a workspace or plain SQLite.
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: PathBuf,

    /// The kith_vector table; all that have a model and a source unless one is named.
    pub table: Option<String>,
}

/// The role a ticket gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// Reads and writes.
    Writer,
    /// Reads, writes, invites and admits.
    Owner,
}

/// `kith invite`.
#[derive(Debug, Args)]
pub struct Invite {
    /// The database file.
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: PathBuf,

    /// What the new device may do.
    #[arg(long, value_enum)]
    pub role: Role,

    /// How long the ticket holds, such as 30m, 12h or 7d.
    #[arg(long, default_value = "1d", value_parser = human::parse_duration)]
    pub expires: Duration,

    /// Where this device can be reached, as `kith sync` prints it; goes into the ticket.
    #[arg(long = "address", value_name = "ADDR")]
    pub addresses: Vec<Address>,
}

/// `kith join`.
#[derive(Debug, Args)]
pub struct Join {
    /// The database file; made if it is not there.
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: PathBuf,

    /// The ticket, as `kith invite` printed it; `-` reads it from standard input.
    pub ticket: String,

    /// Where an owner can be reached; needed where mDNS does not work.
    #[arg(long = "peer", value_name = "ADDR")]
    pub peers: Vec<Address>,

    /// The name by which people know this device [default: the machine's name].
    #[arg(long, value_name = "DEVICE")]
    pub name: Option<String>,

    /// Join with a file that has rows: rows of equal key become one.
    #[arg(long)]
    pub merge_by_key: bool,

    /// Do not search the local network.
    #[arg(long)]
    pub no_mdns: bool,
}

/// `kith sync`.
#[derive(Debug, Args)]
pub struct Sync {
    /// The database file.
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: PathBuf,

    /// End when both sides hold the same; exit 1 if no peer is found.
    #[arg(long)]
    pub once: bool,

    /// Where to listen [default: every interface, at the port chosen for this file].
    #[arg(long, value_name = "ADDR")]
    pub listen: Vec<Address>,

    /// A peer's address, as its `kith sync` prints it; dialled again when lost.
    #[arg(long = "peer", value_name = "ADDR")]
    pub peers: Vec<Address>,

    /// Do not search the local network.
    #[arg(long)]
    pub no_mdns: bool,

    /// End when standard input ends; for programs that start this one.
    #[arg(long)]
    pub until_eof: bool,
}

/// `kith log`.
#[derive(Debug, Args)]
pub struct Log {
    /// The database file.
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: PathBuf,

    /// How many entries.
    #[arg(short = 'n', long = "entries", default_value_t = 20)]
    pub entries: u32,
}

/// `kith doctor`.
#[derive(Debug, Args)]
pub struct Doctor {
    /// A database file to check too.
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: Option<PathBuf>,

    /// A port that `kith sync --listen` is to use; 0 stands for any.
    #[arg(long, default_value_t = 0)]
    pub port: u16,
}

/// `kith demo`.
#[derive(Debug, Args)]
pub struct Demo {
    /// Use a copy of this SQLite database; the file itself is only read.
    #[arg(long, value_name = "FILE.db", value_hint = ValueHint::FilePath, conflicts_with = "wordnet")]
    pub from: Option<PathBuf>,

    /// The folder with WordNet's data.noun, data.verb, data.adj and data.adv [default: a small extract].
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub wordnet: Option<PathBuf>,

    /// Where to put the two databases; must not exist [default: a new folder among the temporary files].
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub folder: Option<PathBuf>,
}

/// `kith completions`.
#[derive(Debug, Args)]
pub struct Completions {
    /// The shell.
    #[arg(value_enum)]
    pub shell: Shell,
}
