//! A registry that is a file.

use std::{
    fs::OpenOptions,
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use tokio::{task::spawn_blocking, time::sleep};

use super::{
    Snapshot, Source, SourceError,
    directory_watch::{DirectoryWatch, SETTLE},
    document,
};
use crate::model::BackendRule;

/// Largest file that is read: 65,535 entries of 250 bytes.
const LARGEST: u64 = 16 << 20;

/// A registry that is a file, TOML or JSON, which somebody rewrites.
#[derive(Debug)]
pub struct FileSource {
    path: PathBuf,
    rule: BackendRule,
    watch: Option<DirectoryWatch>,
    seen: Option<Content>,
}

type Content = Result<Vec<u8>, SourceError>;

impl FileSource {
    /// Nothing is opened before the first call of [`Source::next`].
    #[must_use]
    pub const fn new(path: PathBuf, rule: BackendRule) -> Self {
        Self { path, rule, watch: None, seen: None }
    }

    /// Reads until two readings in a row are equal, because the writer may not be done yet.
    async fn settled(&self) -> Content {
        const ATTEMPTS: usize = 20;
        let mut content = self.content().await;
        for _ in 0..ATTEMPTS {
            if self.seen.as_ref() == Some(&content) {
                break;
            }
            sleep(SETTLE).await;
            let before = std::mem::replace(&mut content, self.content().await);
            if content == before {
                break;
            }
        }
        content
    }

    async fn content(&self) -> Content {
        let path = self.path.clone();
        // A file may lie on a network that hangs, and then nothing else may hang with it.
        let read = spawn_blocking(move || read(&path)).await;
        read.unwrap_or_else(|error| Err(error.into())).map_err(|error| SourceError::Unreachable {
            place: self.path.display().to_string(),
            problem: error.to_string(),
        })
    }
}

impl Source for FileSource {
    async fn next(&mut self) -> Result<Snapshot, SourceError> {
        loop {
            match &mut self.watch {
                Some(watch) => watch.changed().await,
                // Before the first look, or a change between look and watch would be missed.
                None => self.watch = Some(DirectoryWatch::new(&self.path)),
            }
            let content = self.settled().await;
            if self.seen.as_ref() == Some(&content) {
                continue;
            }
            let content = self.seen.insert(content).as_ref().map_err(Clone::clone)?;
            return document::parse(&self.path, content, self.rule);
        }
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    // Without O_NONBLOCK a pipe of this name would be waited for.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("this is not a regular file"));
    }
    let mut content = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut content)?;
    if content.len() as u64 > LARGEST {
        return Err(io::Error::other(format!("the file is larger than {} MiB", LARGEST >> 20)));
    }
    Ok(content)
}

#[cfg(test)]
mod tests;
