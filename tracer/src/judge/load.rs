//! Reads what the user wants to be judged by: files of services, lists and rules. The one place in `judge` with I/O.

use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::Expectations;
use super::toml_input::{Complaint, Source};

/// Complaints about one file that are told one by one; all are counted.
const TOLD: usize = 10;

/// Files of the user.
#[derive(Clone, Debug, Default)]
pub struct Files {
    pub services: Vec<PathBuf>,
    pub lists: Vec<NamedFile>,
    pub rules: Vec<PathBuf>,
}

/// `NAME=FILE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedFile {
    pub name: String,
    pub path: PathBuf,
}

impl FromStr for NamedFile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((name, path)) if !name.is_empty() && !path.is_empty() => {
                Ok(Self { name: name.to_owned(), path: path.into() })
            }
            _ => Err("give NAME=FILE, as in ads=/sdcard/hosts.txt".to_owned()),
        }
    }
}

impl Expectations {
    /// What comes with the program and what the user's files say, and what should be said about these.
    ///
    /// # Errors
    /// A file that cannot be read, or a file of rules with anything wrong in it: a rule that is left out in silence would look
    /// like a clean device.
    pub fn load(home: Vec<String>, files: &Files) -> Result<(Self, Vec<String>), String> {
        let mut all = Self { home, ..Self::built_in() };
        let mut warnings = Vec::new();
        for path in &files.services {
            let (file, text) = read("--services", path)?;
            let complaints = all.services.load(&Source::new(&file, &text));
            warnings.extend(told(&file, &complaints));
        }
        for list in &files.lists {
            warnings.extend(all.load_list(list)?);
        }
        for path in &files.rules {
            let (file, text) = read("--rules", path)?;
            all.rules.load(&Source::new(&file, &text)).map_err(|complaints| {
                let lines: Vec<String> = complaints.iter().map(ToString::to_string).collect();
                format!("--rules {file}: nothing of it is used, because of this:\n  {}", lines.join("\n  "))
            })?;
        }
        Ok((all, warnings))
    }

    fn load_list(&mut self, list: &NamedFile) -> Result<Option<String>, String> {
        let NamedFile { name, path } = list;
        let refused = |error| format!("--list {name}={}: could not be read: {error}", path.display());
        let file = File::open(path).map_err(refused)?;
        let loaded = self.lists.load(name, BufReader::with_capacity(1 << 16, file)).map_err(refused)?;
        let lines: Vec<String> = loaded.first_wrong.iter().map(ToString::to_string).collect();
        let more = if loaded.wrong > lines.len() { ", …" } else { "" };
        Ok((loaded.wrong > 0).then(|| {
            format!(
                "--list {name}={}: {} of its lines hold no host name and were left out (line {}{more}); {} names are used",
                path.display(),
                loaded.wrong,
                lines.join(", "),
                loaded.names
            )
        }))
    }
}

fn read(option: &str, path: &Path) -> Result<(String, String), String> {
    let file = path.display().to_string();
    let bytes = fs::read(path).map_err(|error| format!("{option} {file}: could not be read: {error}"))?;
    // Bytes that are no text are told of where they stand, by the parser.
    Ok((file, String::from_utf8_lossy(&bytes).into_owned()))
}

fn told(file: &str, complaints: &[Complaint]) -> Vec<String> {
    let mut lines: Vec<String> = complaints.iter().take(TOLD).map(ToString::to_string).collect();
    if complaints.len() > TOLD {
        lines.push(format!("{file}: {} more things are wrong with it", complaints.len() - TOLD));
    }
    if !complaints.is_empty() {
        lines.push(format!("{file}: {} things were left out; the rest is used", complaints.len()));
    }
    lines
}
