//! Where things are in this repository, and cargo as the commands call it.

use std::{
    env, fs,
    io::BufReader,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

/// The top of the repository: where the lock file is, above the package that runs.
pub fn root() -> PathBuf {
    let manifest = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let here = manifest.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")));
    let top = here.ancestors().find(|directory| directory.join("Cargo.lock").is_file());
    top.map(Path::to_path_buf).unwrap_or(here)
}

/// Where xtask leaves results; `target` also where cargo was told to build somewhere else.
pub fn target() -> PathBuf {
    root().join("target")
}

/// `target/packages`, the place of finished binaries, archives and packages. Not `target/dist`: that is cargo's.
pub fn dist() -> PathBuf {
    target().join("packages")
}

/// `target/tools/NAME`, where `setup` installs a program that only this project uses.
pub fn tool(name: &str) -> PathBuf {
    target().join("tools").join(name)
}

/// The version of this workspace.
pub fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// The cargo that runs this command, in the top of the repository.
pub fn cargo() -> Command {
    let mut command = cargo_here();
    command.current_dir(root()).stdin(Stdio::null());
    command
}

/// The cargo that runs this command, in the caller's directory, from which paths in arguments count.
pub fn cargo_here() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Creates a directory and its parents.
pub fn create_dir(path: &Path) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("could not create the directory {}", path.display()))
}

/// One line of `cargo --message-format=json`, as far as it matters here.
#[derive(Deserialize)]
struct Message {
    reason: String,
    executable: Option<PathBuf>,
    manifest_path: Option<PathBuf>,
    target: Option<MessageTarget>,
    #[serde(default)]
    profile: MessageProfile,
}

#[derive(Deserialize)]
struct MessageTarget {
    name: String,
}

#[derive(Deserialize, Default)]
struct MessageProfile {
    #[serde(default)]
    test: bool,
}

/// An executable that cargo built.
#[derive(Debug, Clone)]
pub struct Executable {
    pub name: String,
    /// It is a libtest harness, not a program.
    pub test: bool,
    pub path: PathBuf,
    /// The directory of its package.
    pub directory: PathBuf,
}

impl Executable {
    /// The directory of its package from the top of the repository, e.g. `tests/scenarios`.
    pub fn package(&self) -> String {
        self.directory.strip_prefix(root()).unwrap_or(&self.directory).display().to_string()
    }
}

/// Runs a `cargo build` or `cargo test --no-run`; its diagnostics and progress go to stderr.
///
/// # Errors
/// When cargo cannot be started or fails.
pub fn build_executables(mut cargo: Command) -> Result<Vec<Executable>> {
    cargo.arg("--message-format=json-render-diagnostics").stdout(Stdio::piped());
    let shown = crate::shell::show(&cargo);
    let mut child = cargo.spawn().with_context(|| format!("could not start {shown}"))?;
    let stdout = child.stdout.take().context("cargo has no stdout")?;
    let mut found = Vec::new();
    for message in serde_json::Deserializer::from_reader(BufReader::new(stdout)).into_iter::<Message>() {
        let message = message.with_context(|| format!("could not read the messages of {shown}"))?;
        if let (Some(path), Some(target)) = (message.executable, message.target)
            && message.reason == "compiler-artifact"
        {
            let directory = message.manifest_path.as_deref().and_then(Path::parent).map(Path::to_path_buf);
            let directory = directory.unwrap_or_else(root);
            found.push(Executable { name: target.name, test: message.profile.test, path, directory });
        }
    }
    let status = child.wait().with_context(|| format!("could not wait for {shown}"))?;
    if !status.success() {
        bail!("{shown} failed ({status}); its messages are above");
    }
    Ok(found)
}
