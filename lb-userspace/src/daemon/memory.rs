//! What survives a restart of the machine: files in the state directory.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    control::Memory,
    datapath::locks::{self, Holder},
};

/// Why the state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// A file resists.
    #[error("{path}: {source}")]
    File {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another daemon has it.
    #[error("another lbd{} uses {directory}: stop it, or set daemon.state_dir", locks::named(.holder.as_ref()))]
    Locked {
        /// Who has it, as far as the kernel or the file tells.
        holder: Option<Holder>,
        /// The directory.
        directory: PathBuf,
    },
    /// A file holds something else.
    #[error("{path} cannot be understood ({message}): move it away to start without it")]
    Damaged {
        /// Which one.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
}

/// A configuration that came over the API, in force until the file on disk changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// Its name in errors.
    pub file: String,
    /// Its text.
    pub text: String,
    /// Text of the file on disk when it was applied.
    pub instead_of: String,
}

/// The state directory, locked for this process.
#[derive(Debug)]
pub struct StateDir {
    directory: PathBuf,
    _lock: Flock<File>,
}

/// A file's content with the version of its format. Fields may be added within a version: a daemon
/// ignores those that it does not know, so that one can go back to it from a newer one.
#[derive(Serialize, Deserialize)]
struct Document<T> {
    version: u32,
    content: T,
}

/// Version of all formats.
const FORMAT: u32 = 1;

const INTENTS: &str = "intents.json";
const HEALTH: &str = "health.json";
const REGISTERED: &str = "registered.json";
const APPLIED: &str = "applied.json";
const HISTORY: &str = "history.json";
const ASKED: &str = "asked.json";

impl StateDir {
    /// Makes and locks the directory.
    pub fn open(directory: &Path) -> Result<Self, MemoryError> {
        let failed = |path: &Path, source| MemoryError::File { path: path.to_owned(), source };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(|source| failed(directory, source))?;
        let path = directory.join("lock");
        let file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(|source| failed(&path, source))?;
        let mut lock =
            Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(file, _)| {
                let pid = fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok());
                let holder = Holder::of(&file).or_else(|| Holder::with_pid(pid?));
                MemoryError::Locked { holder, directory: directory.to_owned() }
            })?;
        lock.set_len(0)
            .and_then(|()| writeln!(lock, "{}", std::process::id()))
            .map_err(|source| failed(&path, source))?;
        Ok(Self { directory: directory.to_owned(), _lock: lock })
    }

    /// All that a former daemon wrote down.
    pub fn recall(&self) -> Result<Memory, MemoryError> {
        Ok(Memory {
            intents: self.read(INTENTS)?.unwrap_or_default(),
            health: self.read_derived(HEALTH)?.unwrap_or_default(),
            registered: self.read(REGISTERED)?.unwrap_or_default(),
            history: self.read_derived(HISTORY)?.unwrap_or_default(),
            asked: self.read_derived(ASKED)?.unwrap_or_default(),
        })
    }

    /// The configuration that came over the API.
    pub fn applied(&self) -> Result<Option<Applied>, MemoryError> {
        self.read(APPLIED)
    }

    /// Writes down, or forgets, the configuration that came over the API.
    pub fn set_applied(&self, applied: Option<&Applied>) -> Result<(), MemoryError> {
        let path = self.directory.join(APPLIED);
        match applied {
            Some(applied) => self.write(APPLIED, applied),
            None => match fs::remove_file(&path) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    Err(MemoryError::File { path, source })
                }
                _ => Ok(()),
            },
        }
    }

    /// Writes down what backends asked for.
    pub fn set_asked(&self, asked: &impl Serialize) -> Result<(), MemoryError> {
        self.write(ASKED, asked)
    }

    /// The file of what is usual for backends.
    #[must_use]
    pub fn history(&self) -> HistoryFile {
        HistoryFile { directory: self.directory.clone() }
    }

    /// Writes down what operators said.
    pub fn set_intents(&self, intents: &impl Serialize) -> Result<(), MemoryError> {
        self.write(INTENTS, intents)
    }

    /// Writes down the judgement on backends.
    pub fn set_health(&self, health: &impl Serialize) -> Result<(), MemoryError> {
        self.write(HEALTH, health)
    }

    /// Writes down what registries answered.
    pub fn set_registered(&self, registered: &impl Serialize) -> Result<(), MemoryError> {
        self.write(REGISTERED, registered)
    }

    /// Reads what can be found out again: it is not worth a daemon that does not start.
    fn read_derived<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, MemoryError> {
        self.read(name).or_else(|error| match error {
            MemoryError::Damaged { path, message } => {
                tracing::warn!(path = %path.display(), message, "cannot be understood: ignored");
                Ok(None)
            }
            error => Err(error),
        })
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, MemoryError> {
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let path = self.directory.join(name);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(MemoryError::File { path, source }),
        };
        let damaged = |message| MemoryError::Damaged { path: path.clone(), message };
        // The version first: of another one, the rest may be anything.
        let Version { version } =
            serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))?;
        if version != FORMAT {
            return Err(damaged(format!("version {version}, but this lbd knows {FORMAT}")));
        }
        serde_json::from_slice(&text)
            .map(|document: Document<T>| Some(document.content))
            .map_err(|error| damaged(error.to_string()))
    }

    /// Replaces a file as a whole, so that a crash leaves the old one or the new one.
    fn write(&self, name: &str, value: &impl Serialize) -> Result<(), MemoryError> {
        let document = Document { version: FORMAT, content: value };
        replace(&self.directory, name, |file| {
            file.write_all(&serde_json::to_vec_pretty(&document)?)
        })
    }
}

/// Where what is usual for backends is written down. It can be much, so this may be done in a thread
/// that nobody waits for; one at a time.
#[derive(Debug)]
pub struct HistoryFile {
    directory: PathBuf,
}

impl HistoryFile {
    /// Writes down what is usual for backends, not for people to read.
    pub fn set(&self, history: &impl Serialize) -> Result<(), MemoryError> {
        let document = Document { version: FORMAT, content: history };
        replace(&self.directory, HISTORY, |file| {
            let mut buffer = BufWriter::new(file);
            serde_json::to_writer(&mut buffer, &document)?;
            buffer.flush()
        })
    }
}

/// Replaces a file as a whole, see [`StateDir::write`].
fn replace(
    directory: &Path,
    name: &str,
    fill: impl FnOnce(&mut File) -> io::Result<()>,
) -> Result<(), MemoryError> {
    let path = directory.join(name);
    let draft = directory.join(format!("{name}.new"));
    let replace = || {
        let mut file =
            File::options().create(true).truncate(true).write(true).mode(0o600).open(&draft)?;
        fill(&mut file)?;
        file.sync_all()?;
        fs::rename(&draft, &path)
    };
    replace().map_err(|source| MemoryError::File { path: path.clone(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        control::{Intents, Mode},
        outlier::learned::History,
    };

    #[test]
    fn what_was_said_is_there_after_a_restart() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut intents = Intents::default();
        let backend = "web/10.0.1.11".parse().expect("a name");
        intents.change(&backend, |intent| intent.mode = Mode::Drain);
        let state = StateDir::open(directory.path()).expect("free");
        state.set_intents(&intents).expect("room");
        let refusal = StateDir::open(directory.path()).expect_err("locked").to_string();
        assert!(refusal.contains(&std::process::id().to_string()), "{refusal}");
        drop(state);
        let state = StateDir::open(directory.path()).expect("free");
        assert_eq!(state.recall().expect("readable").intents, intents);
    }

    #[test]
    fn a_damaged_file_is_named() {
        for name in [INTENTS, REGISTERED] {
            let error = recall_with(name, b"{").expect_err("damaged").to_string();
            assert!(error.contains(name), "{error}");
        }
        let error = recall_with(INTENTS, b"{\"version\":2,\"content\":7}").expect_err("newer");
        assert!(error.to_string().contains("version 2, but this lbd knows 1"), "{error}");
        recall_with(INTENTS, b"{\"backends\":{}}").expect_err("it has no version");
    }

    #[test]
    fn a_damaged_judgement_is_ignored() {
        for damage in
            [&b""[..], b"{", b"\xff", b"{\"version\":2}", b"{\"version\":1,\"content\":7}"]
        {
            assert!(recall_with(HEALTH, damage).expect("ignored").health.is_empty());
        }
    }

    #[test]
    fn what_a_newer_daemon_added_is_ignored() {
        let intents = br#"{"version":1,"mood":1,"content":{"mood":2,
            "backends":{"web/10.0.1.11":{"mode":"drain","mood":3}}}}"#;
        let memory = recall_with(INTENTS, intents).expect("understood");
        let backend = "web/10.0.1.11".parse().expect("a name");
        assert_eq!(memory.intents.of(&backend).mode, Mode::Drain);
        let registered = br#"{"version":1,"content":{"web":{"mood":1,
            "backends":[{"address":"10.0.1.11","weight":7,"mood":2}]}}}"#;
        let memory = recall_with(REGISTERED, registered).expect("understood");
        assert_eq!(memory.registered.values().next().expect("web").backends[0].weight, 7);
    }

    #[test]
    fn what_was_learned_is_written_densely_and_read_again() {
        let directory = tempfile::tempdir().expect("a directory");
        let state = StateDir::open(directory.path()).expect("free");
        let history = std::collections::BTreeMap::from([("web", History::default())]);
        state.history().set(&history).expect("room");
        let text = fs::read_to_string(directory.path().join(HISTORY)).expect("written");
        assert_eq!(text.lines().count(), 1, "{text}");
        let recalled = state.recall().expect("readable").history;
        assert_eq!(recalled.into_values().collect::<Vec<_>>(), [History::default()]);
    }

    fn recall_with(name: &str, content: &[u8]) -> Result<Memory, MemoryError> {
        let directory = tempfile::tempdir().expect("a directory");
        fs::write(directory.path().join(name), content).expect("room");
        StateDir::open(directory.path()).expect("free").recall()
    }
}
